"The server as a process: asked at once by many, told nonsense, played in a real browser, and ended by Ctrl-C."
import json, random, re, shutil, signal, subprocess, sys, urllib.request
from concurrent.futures import ThreadPoolExecutor

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

def test_many_at_once(address):
    httpx, soak = pytest.importorskip('httpx', reason='no httpx: pip install httpx'), pytest.importorskip('soak')
    pictures = [soak.png(i) for i in range(8)]
    with httpx.Client(base_url=address, timeout=60) as client, ThreadPoolExecutor(8) as pool:
        ask = lambda i: client.post('reconstruct', content=pictures[i % 8]).content
        alone = [ask(i) for i in range(8)]
        for i, answer in enumerate(pool.map(ask, range(64))): assert answer == alone[i % 8]      # whoever else is in the batch

def test_nonsense_gets_a_sentence(address):
    httpx, soak = pytest.importorskip('httpx', reason='no httpx: pip install httpx'), pytest.importorskip('soak')
    rng = random.Random(0)
    with httpx.Client(base_url=address, timeout=60) as client:
        assert max(soak.nonsense(client, rng) for _ in range(500)) < 500
        assert client.get('health').json()['status'] == 'ok'

def test_whatever_is_said_to_a_player(address):
    hypothesis = pytest.importorskip('hypothesis', reason='no hypothesis: pip install hypothesis')
    from hypothesis import strategies as st
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect
    value = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3), max_leaves=5)
    known = st.fixed_dictionaries({'do': st.sampled_from(['step', 'restart', 'look', 'end']) | value}, optional={'action': value, 'at': value, 'frame': value, 'n': value})
    @hypothesis.example(['['*60_000])                                              # deeper than Python's JSON goes
    @hypothesis.settings(max_examples=100, deadline=None)
    @hypothesis.given(st.lists((known | value).map(json.dumps) | st.text(max_size=50) | st.binary(max_size=50), min_size=1, max_size=4))
    def speak(messages):
        with connect(address.replace('http', 'ws')+'play') as ws:
            ws.recv(timeout=30)
            try:
                for m in messages:
                    ws.send(m)
                    for _ in range(json.loads(ws.recv(timeout=30))['frames']): ws.recv(timeout=30)
                ws.send('{"do": "step", "action": 1}')
                facts = json.loads(ws.recv(timeout=30))
                assert facts['frames'] and 'error' not in facts                    # after all that, it still plays
            except ConnectionClosed as e: assert e.rcvd and e.rcvd.code in (1003, 1007)       # told that this is no JSON
    speak()

def test_schema_holds(address):
    schemathesis = pytest.importorskip('schemathesis', reason='no schemathesis: pip install schemathesis')
    import hypothesis
    from schemathesis.checks import not_a_server_error
    schema = schemathesis.openapi.from_url(address+'openapi.json')
    for operation in schema.get_all_operations():
        @hypothesis.settings(max_examples=40, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
        @hypothesis.given(operation.ok().as_strategy())
        def holds(case): case.call_and_validate(checks=[not_a_server_error])
        holds()

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
        shown = lambda: page.evaluate("[...document.querySelectorAll('canvas')].map(c => c.offsetParent !== null)")
        views = []
        for _ in range(3): page.locator('.lwm-view').dispatch_event('pointerdown'); views.append(shown())
        assert views == [[True, False], [False, True], [True, True]]                        # the dream, the real game, both
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')          # a phone need not scroll sideways
        browser.close()

@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium on this machine: apt-get install chromium')
def test_a_person_plays_into_a_store(tmp_path):
    playwright = pytest.importorskip('playwright.sync_api', reason='no playwright: pip install playwright')
    pytest.importorskip('ale_py', reason='no ale_py: pip install lightweight_world_model[games]')
    from lightweight_world_model.data import EpisodeStore
    recorder = subprocess.Popen([sys.executable, '-c', 'from lightweight_world_model.cli import main; main()', 'data', 'record', '--env', 'ALE/Breakout-v5', '--out', str(tmp_path/'mine'), '--play'],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        recorder.stdout.readline()
        address = re.match(r'(http://127\.0\.0\.1:\d+/) to play', recorder.stdout.readline())[1]
        with playwright.sync_playwright() as p:
            browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
            page = browser.new_page()
            page.goto(address)
            page.wait_for_function("document.querySelector('.lwm-count')?.textContent === 'frame 0'", timeout=60_000)
            assert page.locator('canvas').count() == 1 and 'recorded' in page.inner_text('#state')
            page.click('canvas')
            page.keyboard.down('ArrowRight')
            page.wait_for_function("Number(document.querySelector('.lwm-count').textContent.split(' ')[1]) >= 30", timeout=60_000)
            assert page.inner_text('.lwm-doing') == 'RIGHT'
            browser.close()
        recorder.send_signal(signal.SIGINT)
        said = recorder.communicate(timeout=30)
    finally: recorder.kill()
    assert (recorder.returncode, said[1]) == (0, '')
    store = EpisodeStore(tmp_path/'mine')
    assert len(store) >= 30 and store.action_names == ['NOOP', 'FIRE', 'RIGHT', 'LEFT'] and store.meta['fps'] == 15
    assert (store.actions[-25:-1] == 2).all()
    paddle = [(f[57:60, 4:61, 0] > 100).any(0).nonzero()[0].mean() for f in store.frames[[0, -1]]]
    assert paddle[1] > paddle[0] + 10                                        # it went where the key asked it to go
