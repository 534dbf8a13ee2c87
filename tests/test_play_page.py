"An exported world on a plain web server, played in a real browser that has no other network."
import functools, http.server, shutil, sys, threading
from pathlib import Path

import pytest

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='no Chromium on this machine: apt-get install chromium')
playwright = pytest.importorskip('playwright.sync_api', reason='no playwright: pip install playwright')
for module in 'onnxscript', 'onnxruntime': pytest.importorskip(module, reason=f'no {module}: pip install lightweight_world_model[export]')

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "The address of a folder two levels below the root of a static file server."
    from lightweight_world_model.export import export_world, write_page
    from lightweight_world_model.world import WorldModel
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'tools'))
    from runtime import fetch_runtime
    root = tmp_path_factory.mktemp('site')
    try: shutil.copytree(fetch_runtime(), root/'docs/play/runtime')
    except OSError as e: pytest.skip(f'onnxruntime-web could not be fetched from npm: {e}')
    export_world(WorldModel.load('platformer'), root/'docs/play/platformer')
    write_page(root/'docs/play/platformer', 'a <small> world', '../runtime')
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/docs/play/platformer/index.html'
    server.shutdown()

@pytest.fixture(scope='module')
def page(site):
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page, elsewhere = browser.new_page(viewport={'width': 390, 'height': 700}), []
        page.route('**/*', lambda r: r.continue_() if r.request.url.startswith(site.rsplit('/docs', 1)[0]) else (elsewhere.append(r.request.url), r.abort()))
        page.goto(site)
        page.wait_for_selector('canvas', timeout=60_000)
        page.wait_for_function("document.querySelector('.lwm-count').textContent === 'frame 0'")
        yield page
        assert not elsewhere
        browser.close()

def pixels(page): return page.evaluate("[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 64, 64).data]")
def frame(page): return int(page.inner_text('.lwm-count').split()[1])

def test_it_begins_where_the_world_begins(page):
    import numpy as np
    from lightweight_world_model.world import WorldModel
    seen = np.array(pixels(page)).reshape(64, 64, 4)[..., :3]
    assert abs(seen - WorldModel.load('platformer').reset().astype(int)).max() <= 1
    assert page.title() == 'a <small> world: a dream to play'

def test_keys_are_obeyed_as_in_python(page):
    "The same keys from the same start: every frame that the browser shows is the one that PyTorch dreams."
    import numpy as np
    from lightweight_world_model.world import WorldModel
    page.click('canvas')
    page.keyboard.down('ArrowRight')
    page.wait_for_function("Number(document.querySelector('.lwm-count').textContent.split(' ')[1]) >= 20", timeout=60_000)
    page.keyboard.up('ArrowRight')
    page.evaluate("document.activeElement.blur()")                       # pauses
    page.wait_for_timeout(500)
    n, slider = frame(page), page.locator('.lwm-sliders input')
    def at(i):
        slider.evaluate("(s, i) => { s.value = i; s.dispatchEvent(new Event('input')); }", i)
        page.wait_for_function(f"document.querySelector('.lwm-count').textContent === 'frame {i}'")
        return page.inner_text('.lwm-doing'), np.array(pixels(page)).reshape(64, 64, 4)[..., :3]
    world = WorldModel.load('platformer')
    world.reset()
    shown = [at(i) for i in range(1, n+1)]
    assert sum(name == 'right' for name, _ in shown) >= 10
    for name, picture in shown: assert abs(picture - world.step(world.action_names.index(name)).astype(int)).max() <= 1

def test_a_button_jumps_and_again_begins_again(page):
    start = pixels(page)
    page.dispatch_event('button:text-is("jump")', 'pointerdown')
    page.wait_for_function("document.querySelector('.lwm-doing').textContent === 'jump'")
    assert pixels(page) != start
    page.dispatch_event('button:text-is("jump")', 'pointerup')
    page.dispatch_event('.lwm-again', 'pointerdown')
    page.wait_for_function("Number(document.querySelector('.lwm-count').textContent.split(' ')[1]) < 10")
