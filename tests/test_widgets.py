"The player in JupyterLab, driven by a real browser: keys and buttons move the player, and nothing else in the notebook."
import json, os, secrets, shutil, socket, subprocess, sys, time, urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='no Chromium on this machine: apt-get install chromium')
playwright = pytest.importorskip('playwright.sync_api', reason='no playwright: pip install playwright')
pytest.importorskip('anywidget', reason='no anywidget: pip install anywidget')

WORLD = '''
import warnings; warnings.simplefilter('ignore')
from lightweight_world_model.data import make_game_data
from lightweight_world_model.dynamics import train_dynamics
from lightweight_world_model.training import save_tokenizer, start_tokenizer
from lightweight_world_model.vqvae import preset
from lightweight_world_model.world import WorldModel
store = make_game_data('game', 1_000, episode_len=100, seed=5)
tokenizer = start_tokenizer(store, preset('nano'))
save_tokenizer(tokenizer, 'tokenizer/tokenizer.safetensors')
train_dynamics(store, tokenizer, 'dynamics', epochs=8, width=64, blocks=3, pooled=(1,), moves=1)
WorldModel.from_runs('tokenizer', 'dynamics', store).save('tiny.safetensors')
'''
SHOW = '''from lightweight_world_model.data import EpisodeStore
from lightweight_world_model.widgets import DreamPlayer
from lightweight_world_model.world import WorldModel
player = DreamPlayer(WorldModel.load('tiny.safetensors'), EpisodeStore('game'))
player'''

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "The address of a JupyterLab that shows a notebook with a tiny world; its settings and workspaces are its own."
    folder = tmp_path_factory.mktemp('lab')
    subprocess.run([sys.executable, '-c', WORLD], cwd=folder, check=True, capture_output=True, text=True)
    cells = [new_markdown_cell('# A dream\n' + 'Below is a game.'), new_code_cell(SHOW), new_code_cell('print(6*7)'), new_markdown_cell('\n\n'.join(['The end.']*40))]
    nbformat.write(new_notebook(cells=cells, metadata={'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}}), folder/'play.ipynb')
    quiet = folder/'jupyter/@jupyterlab/apputils-extension/notification.jupyterlab-settings'
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps({'fetchNews': 'false'}))               # no question about news in the corner
    token = secrets.token_hex()
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    own = {name: str(folder/'jupyter') for name in ('JUPYTER_CONFIG_DIR', 'JUPYTER_DATA_DIR', 'JUPYTER_RUNTIME_DIR', 'JUPYTERLAB_SETTINGS_DIR', 'JUPYTERLAB_WORKSPACES_DIR', 'IPYTHONDIR')}
    command = [sys.executable, '-m', 'jupyter', 'lab', '--no-browser', '--allow-root', '--LabApp.expose_app_in_browser=True', f'--port={port}', f'--IdentityProvider.token={token}', f'--ServerApp.root_dir={folder}']
    with open(folder/'lab.log', 'w') as log:
        server = subprocess.Popen(command, cwd=folder, env={**os.environ, **own}, stdout=log, stderr=log)
    address = f'http://127.0.0.1:{port}'
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(address + '/api', timeout=1)
                break
            except OSError: time.sleep(.5)
        else: raise AssertionError((folder/'lab.log').read_text())
        yield f'{address}/lab/tree/play.ipynb?token={token}', folder
    finally:
        server.terminate()
        server.wait(20)

@pytest.fixture(scope='module')
def page(lab):
    "The notebook, open and run."
    address, folder = lab
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_page(viewport={'width': 1100, 'height': 900})
        page.set_default_timeout(180_000)
        page.goto(address)
        page.locator('.jp-NotebookPanel').wait_for()
        page.get_by_text('| Idle').wait_for()
        page.get_by_role('menuitem', name='Run', exact=True).click()
        page.get_by_text('Run All Cells', exact=True).click()
        page.locator('.lwm-stage').wait_for()
        page.locator('.lwm-count', has_text='frame 0').wait_for()
        yield page
        browser.close()

def screen(page, i: int) -> np.ndarray:
    "What a canvas shows, uint8 (64, 64, 3): 0 the dream, 1 the real game."
    rgba = page.evaluate("i => Array.from(document.querySelectorAll('.lwm-screens canvas')[i].getContext('2d').getImageData(0, 0, 64, 64).data)", i)
    return np.array(rgba, np.uint8).reshape(64, 64, 4)[..., :3]

def player_x(page) -> float:
    "Where the real player is, across: the mean place of its red cap."
    return np.argwhere(np.abs(screen(page, 1).astype(int)-(0xe8, 0x35, 0x3b)).max(-1) < 4)[:, 1].mean()

def text(page, kind: str) -> str: return page.locator(f'.lwm-{kind}').inner_text()
def count(page) -> int: return int(text(page, 'count').split()[1])
def look_away(page): page.evaluate('document.activeElement.blur()')
def wait_for_frames(page, n: int): page.wait_for_function(f"parseInt(document.querySelector('.lwm-count').textContent.split(' ')[1]) >= {n}")

def test_stands_still_until_clicked(page):
    assert page.locator('.lwm-screens canvas').count() == 2 and page.locator('.lwm-hint').is_visible()
    assert (screen(page, 0) != 0).any() and (screen(page, 1) != 0).any()
    page.wait_for_timeout(500)
    assert count(page) == 0

def test_keys_move_the_player(page):
    page.locator('.lwm-sliders input').nth(0).fill('40')               # there, one can walk both ways and live
    page.wait_for_function("document.querySelector('.lwm-sliders output').textContent == '40' && document.querySelector('.lwm-doing').textContent == 'the beginning'")
    page.wait_for_timeout(500)
    dreams = [screen(page, 0)]
    page.locator('.lwm-stage').focus()
    for key, action in (('ArrowRight', 'right'), ('a', 'left')):
        before, n = player_x(page), count(page)
        page.keyboard.down(key)
        wait_for_frames(page, n+8)
        assert text(page, 'doing') == action and page.locator('.lwm-pad .lwm-on').inner_text() == action
        dreams.append(screen(page, 0))
        page.keyboard.up(key)
        moved = player_x(page)-before
        assert moved > 3 if action == 'right' else moved < -3, (action, moved)
    assert any((d != dreams[0]).any() for d in dreams[1:])             # the dream moves too
    page.keyboard.down('Space')
    page.keyboard.down('ArrowRight')
    page.wait_for_function("document.querySelector('.lwm-doing').textContent == 'jump right'")
    page.keyboard.up('Space')
    page.wait_for_function("document.querySelector('.lwm-doing').textContent == 'right'")
    page.keyboard.down('ArrowLeft')                                    # of two opposite keys, the later one
    page.wait_for_function("document.querySelector('.lwm-doing').textContent == 'left'")
    for key in ('ArrowLeft', 'ArrowRight'): page.keyboard.up(key)
    page.wait_for_function("document.querySelector('.lwm-doing').textContent == 'stay'")
    page.keyboard.down('4')
    page.wait_for_function("document.querySelector('.lwm-doing').textContent == 'jump'")
    page.keyboard.up('4')

def test_runs_at_its_speed(page):
    n = count(page)
    wait_for_frames(page, n+40)
    assert 'frames/s' in text(page, 'speed') and 3 < float(text(page, 'speed').split()[0]) < 17

def test_keys_do_nothing_else(page):
    "No cell is added or deleted, no other cell selected, and the page stays where it is."
    state = lambda: page.evaluate("[document.querySelectorAll('.jp-Cell').length, document.querySelector('.jp-WindowedPanel-outer').scrollTop]")
    page.locator('.lwm-stage').focus()
    before = state()
    for key in ('d', 'd', 'a', 's', 'w', 'ArrowDown', 'ArrowDown', 'ArrowUp', 'Space', 'Space'): page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert state() == before

def test_blur_lets_go(page):
    page.locator('.lwm-stage').focus()
    page.keyboard.down('ArrowRight')
    page.wait_for_function("document.querySelector('.lwm-doing').textContent == 'right'")
    look_away(page)
    page.wait_for_timeout(400)
    n = count(page)
    page.wait_for_timeout(400)
    assert count(page) == n and page.locator('.lwm-hint').is_visible()
    page.keyboard.up('ArrowRight')
    page.locator('.lwm-stage').focus()
    page.wait_for_function("document.querySelector('.lwm-doing').textContent == 'stay'")

def test_button_is_held_while_pressed(page):
    button = page.locator('.lwm-pad button', has_text='jump left')
    button.hover()
    page.mouse.down()
    page.wait_for_function("document.querySelector('.lwm-doing').textContent == 'jump left'")
    page.mouse.up()
    page.wait_for_function("document.querySelector('.lwm-doing').textContent == 'stay'")
    look_away(page)

def test_sliders(page):
    page.wait_for_timeout(300)
    kept, now = count(page), [screen(page, i) for i in (0, 1)]
    back = page.locator('.lwm-sliders input').nth(1)
    back.fill('2')
    page.locator('.lwm-count', has_text='frame 2').wait_for()
    assert kept > 2 and any((s != n).any() for s, n in zip((screen(page, 0), screen(page, 1)), now))
    page.locator('.lwm-sliders input').nth(0).fill('40')
    page.wait_for_function("document.querySelector('.lwm-doing').textContent == 'the beginning'")
    assert count(page) == 0

def test_kernel_is_free(page, lab):
    "While the dream runs, the kernel does other work too."
    page.locator('.lwm-stage').focus()
    n = count(page)
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code: 'open(\"free\", \"w\").close()'}).done")
    assert (lab[1]/'free').exists()
    wait_for_frames(page, n+10)

def test_looks_right_in_both_themes(page, lab):
    "Text stands out against what is behind it. SHOTS=folder keeps the pictures."
    for theme in ('Light', 'Dark'):
        page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})")
        page.wait_for_timeout(2000)
        paper, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.querySelector('.lwm-stage')))")
        grey = lambda colour: np.mean([float(c) for c in colour[colour.index('(')+1:-1].split(',')[:3]])
        assert abs(grey(paper)-grey(ink)) > 120 and (grey(paper) > 128) == (theme == 'Light'), (theme, paper, ink)
        page.screenshot(path=Path(os.environ.get('SHOTS', lab[1]))/f'{theme.lower()}.png')
