"The demo as a process: in a terminal of its own, and on a page in a real browser."
import os, pty, re, shutil, signal, subprocess, sys

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
DEMO = [sys.executable, '-W', 'ignore', '-c', 'from lightweight_world_model.cli import main; main()', 'demo', 'platformer']

@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(tmp_path/'photo.png')
    return tmp_path/'photo.png'

def test_in_a_pipe_only_figures(photo):
    done = subprocess.run([*DEMO, '--mode', 'cli', '--image', photo], capture_output=True, text=True)
    assert done.returncode == 0 and re.fullmatch(r'PSNR [\d.]+ dB, SSIM [\d.]+; 256 tokens, 2,560 bits for 98,304: 1 to 38.4\n', done.stdout)

@pytest.mark.skipif(sys.platform == 'win32', reason='Windows has no pseudo-terminals')
def test_in_a_terminal_a_picture(photo):
    ours, theirs = pty.openpty()
    p = subprocess.Popen([*DEMO, '--mode', 'cli', '--image', photo], stdout=theirs)
    os.close(theirs)
    said = b''
    try:
        while data := os.read(ours, 65536): said += data
    except OSError: pass                                   # how Linux says that the other end is closed
    assert p.wait() == 0 and said.decode().count('▀') == 32*130

@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium on this machine: apt-get install chromium')
def test_drop_a_picture(photo):
    pytest.importorskip('gradio', reason='no gradio: pip install lightweight_world_model[demo]')
    playwright = pytest.importorskip('playwright.sync_api', reason='no playwright: pip install playwright')
    server = subprocess.Popen([*DEMO, '--mode', 'gradio'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        address = re.match(r'(http://127\.0\.0\.1:\d+/) shows it', server.stdout.readline())[1]
        with playwright.sync_playwright() as p:
            browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
            page = browser.new_page(viewport={'width': 1200, 'height': 900})
            page.goto(address)
            psnr = lambda: page.locator('[role=gridcell]', has_text=' dB').first.inner_text(timeout=60_000)
            first = psnr()                                 # of the frame that the world carries
            assert float(first.split()[0]) > 40
            page.set_input_files('input[type=file] >> nth=0', photo)
            page.wait_for_function(f"[...document.querySelectorAll('[role=gridcell]')].some(t => t.innerText.includes(' dB') && !t.innerText.includes('{first}'))", timeout=60_000)
            assert float(psnr().split()[0]) < 20           # noise is no game
            browser.close()
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=30)[1]
        assert server.returncode == 0 and 'Traceback' not in said
    finally: server.kill()
