"The server as a process: played in a real browser, and ended by Ctrl-C."
import json, re, shutil, signal, subprocess, sys, urllib.request

import pytest

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
for module in 'fastapi', 'uvicorn', 'websockets': pytest.importorskip(module, reason=f'no {module}: pip install lightweight_world_model[serve]')

@pytest.fixture(scope='module')
def address():
    server = subprocess.Popen([sys.executable, '-c', 'from lightweight_world_model.cli import main; main()', 'serve', 'platformer', '--port', '0', '--players', '3'],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        yield re.match(r'(http://127\.0\.0\.1:\d+/) to play', line)[1]
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=20)[1]
        assert (server.returncode, said) == (0, '')                     # a clean end, without a word
    finally: server.kill()

def test_openapi(address):
    with urllib.request.urlopen(address+'openapi.json') as r: paths = json.load(r)['paths']
    assert {'/health', '/worlds', '/reconstruct', '/encode', '/decode', '/predict'} <= set(paths)

@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium on this machine: apt-get install chromium')
def test_keys_move_the_player(address):
    playwright = pytest.importorskip('playwright.sync_api', reason='no playwright: pip install playwright')
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_page(viewport={'width': 390, 'height': 780}, has_touch=True)
        page.goto(address)
        page.wait_for_function("document.querySelector('.lwm-count')?.textContent === 'frame 0'", timeout=60_000)
        assert page.locator('canvas').count() == 2                      # the dream, and the real game beside it
        pixels = lambda: page.evaluate("[...document.querySelectorAll('canvas')].map(c => [...c.getContext('2d').getImageData(0, 0, 64, 64).data].join())")
        dream, real = pixels()
        page.click('canvas >> nth=0')
        page.keyboard.down('ArrowRight')
        page.wait_for_function("Number(document.querySelector('.lwm-count').textContent.split(' ')[1]) >= 10", timeout=60_000)
        assert page.inner_text('.lwm-doing') == 'right'
        page.keyboard.up('ArrowRight')
        later = pixels()
        assert later[0] != dream and later[1] != real
        page.locator('button', has_text='jump left').dispatch_event('pointerdown')          # what a finger does
        page.wait_for_function("document.querySelector('.lwm-doing').textContent === 'jump left'")
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')          # a phone need not scroll sideways
        browser.close()
