"`lwm` as a process: what it says, its exit codes, and what it leaves behind."
import hashlib, json, os, re, shlex, shutil, signal, sys, time
from pathlib import Path

import pytest
from PIL import Image

from commands import finish, run, start
from conftest import ROOT
from lightweight_world_model.data import EpisodeStore
from lightweight_world_model.dynamics import deeper
from lightweight_world_model.training import REPORT_KEYS, load_tokenizer
from lightweight_world_model.vqvae import PRESETS
from lightweight_world_model.world import WorldModel

COMMANDS = {
    '': 'quickstart data train score export serve play demo bench', 'data': 'make record import split merge label show', 'train': 'tokenizer dynamics',
    'quickstart': '--out --minutes --frames --seed', 'data make': '--out --frames --seed', 'data record': '--env --out --frames --size --seed --keys --option --skip --workers --play --port', 'data show': '--sheet --json',
    'data import': '--out --actions --size --fps --crop --offset --calm --strip --seed', 'data merge': '--out', 'data label': '--tokenizer --out --actions --minutes --epochs --seed', 'data split': '--episodes --out --rest', 'demo': '--mode --image --json --out --port',
    'train tokenizer': '--data --out --preset --minutes --epochs --batch --seed --device --amp --tensorboard --resume', 'train dynamics': '--data --tokenizer --start --out --preset --minutes --epochs --lr --batch --seed --device --amp --tensorboard --resume', 'score': '--data --json --pictures --split --quick', 'export': '--out --data',
    'serve': '--host --port --players', 'play': '--port', 'bench': '--threads --json'}

def files(folder):
    "All that is in a folder, with what it holds."
    return {p.relative_to(folder).as_posix(): hashlib.md5(p.read_bytes()).hexdigest() if p.is_file() else '' for p in folder.rglob('*') if p.name not in ('.stdout', '.stderr')}

# ---- what works

@pytest.mark.parametrize('path', COMMANDS)
def test_help(path, tmp_path):
    text, _ = run(f'{path} --help', tmp_path)
    assert f'Usage: lwm {path}'.strip() in text
    assert all(re.search(rf'(?m)^  {name}\b', text) for name in COMMANDS[path].split())
    assert set(re.findall(r'(?m)^  (--\w+)', text)) - {'--help', '--install', '--show'} <= set(COMMANDS[path].split())
    if path and path not in ('data', 'train'): assert f'Example:\n    lwm {path}' in text

def test_examples_can_be_typed():
    from typer.main import get_command
    from lightweight_world_model.cli import app
    def leaves(command, path=()):
        if hasattr(command, 'commands'):
            for name, c in command.commands.items(): yield from leaves(c, (*path, name))
        else: yield path, command
    found = dict(leaves(get_command(app)))
    assert {' '.join(p) for p in found} == {c for c in COMMANDS if c not in ('', 'data', 'train')}
    for path, command in found.items():
        words = shlex.split(command.epilog.splitlines()[-1])
        assert words[:len(path)+1] == ['lwm', *path]
        command.make_context(path[-1], words[len(path)+1:])                   # raises for an option that isn't there

def test_shell_completion(tmp_path):
    import subprocess
    done = subprocess.run([sys.executable, '-c', 'from lightweight_world_model.cli import main; main()'], capture_output=True, text=True,
                          env={**os.environ, '_LWM_COMPLETE': 'complete_bash', 'COMP_WORDS': 'lwm data m', 'COMP_CWORD': '2'})
    assert done.stdout.split() == ['make', 'merge'] and done.returncode == 0


def test_help_names_the_presets(tmp_path):
    text = run('train tokenizer --help', tmp_path)[0]
    assert all(name in text for name in PRESETS)

def test_installed_command():
    import configparser
    cfg = configparser.ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini')
    assert cfg['DEFAULT']['console_scripts'] == 'lwm=lightweight_world_model.cli:main'

@pytest.fixture(scope='module')
def done(tmp_path_factory):
    "A folder with data and a run, and what the commands said."
    cwd = tmp_path_factory.mktemp('lwm')
    lines = ['data make --out data/game --frames 200', 'data show data/game --sheet sheet.png', 'train tokenizer --data data/game --out runs/game --minutes 0.05',
             'score runs/game --data data/game --json score.json', 'train dynamics --data data/game --tokenizer runs/game --out runs/world --epochs 1',
             'score runs/world --data data/game --quick --json world.json --pictures pictures']
    return cwd, [run(line, cwd)[0] for line in lines]

def test_data(done):
    cwd, (made, shown, *_) = done
    assert '200 frames of 64×64 in 10 episodes' in made and '200 frames of 64×64 in 10 episodes' in shown
    assert re.search(r'test +1 episodes +20 frames', shown)
    assert Image.open(cwd/'sheet.png').width > 1000

def test_older_name_of_atari_and_another_size(tmp_path):
    assert '40 frames of 32×32' in run('data record --env BreakoutNoFrameskip-v4 --out few --frames 40 --size 32', tmp_path)[0]
    run('train tokenizer --data few --out tokenizer --epochs 1', tmp_path)
    assert load_tokenizer(tmp_path/'tokenizer')[0].cfg.size == 32

def test_train(done):
    cwd, (_, _, said, *_) = done
    assert re.search(r'(?m)^round 1: .*valid_loss .*psnr_db', said) and 'tokenizer.psnr ' in said
    assert sorted(os.listdir(cwd/'runs/game')) == ['history.csv', 'report.json', 'tokenizer.safetensors']
    assert load_tokenizer(cwd/'runs/game')[1]['data']['frames'] == 200

def test_score(done):
    cwd, _ = done
    report = json.loads((cwd/'score.json').read_text())
    assert list(report) == [*REPORT_KEYS, 'milestones']
    assert set(report['milestones']) == set('1234') and all(set(m) == {'passed', 'why'} for m in report['milestones'].values())
    measured = {k for k in REPORT_KEYS if report[k]}
    assert measured == {k for k in REPORT_KEYS if k.startswith('tokenizer.')} | {'memory.peak_mb'}
    for k in measured: assert set(report[k]) == {'value', 'n', 'ci95'} and isinstance(report[k]['value'], (int, float)) and report[k]['n'] >= 1
    assert report['tokenizer.psnr']['n'] == 20

def test_world(done):
    cwd, (*_, trained, scored) = done
    assert 'wrote world.safetensors' in trained and len(re.findall('(?m)^milestone [1234] ', scored)) == 4
    world = WorldModel.load(cwd/'runs/world/world.safetensors')
    assert world.info['data']['frames'] == 200 and world.step(1).shape == (64, 64, 3)
    report = json.loads((cwd/'world.json').read_text())
    assert set(REPORT_KEYS) < set(report) and report['next.psnr']['n'] > 0 and report['control.action_accuracy']['value'] <= 1
    for name in 'strip', 'drift', 'actions': assert Image.open(cwd/f'pictures/{name}.png').width > 300

def test_quickstart(tmp_path):
    (tmp_path/'lwm-quickstart').mkdir()
    said, _ = run('quickstart --minutes 0.1 --frames 300', tmp_path)
    assert 'milestone 4' in said and json.loads((tmp_path/'lwm-quickstart-2/report.json').read_text())['play.fps']
    for name in 'reconstruction.png', 'levels.png', 'dreams/strip.png':
        assert Image.open(tmp_path/'lwm-quickstart-2'/name).width > 500

def test_epochs_and_curves(done, tmp_path):
    cwd, _ = done
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    store = EpisodeStore(cwd/'data/game')
    for model, rows in ('tokenizer', store.frame_ids('train')), (f'dynamics --tokenizer {cwd}/runs/game', store.windows('train', 2)):
        out = model.split()[0]
        said, _ = run(f'train {model} --data {cwd}/data/game --out {out} --epochs 2 --batch 9 --tensorboard --device cpu', tmp_path)
        assert len(re.findall('(?m)^round', said)) == 2
        curves = EventAccumulator(str(tmp_path/out/'tensorboard')).Reload()
        assert curves.Scalars('train_loss')[-1].step == 2*(len(rows)//9)

# ---- what doesn't

@pytest.fixture(scope='module')
def broken(done):
    "The same folder, with things that are broken in various ways."
    cwd, _ = done
    (cwd/'empty').mkdir()
    for name, spoil in {'half': lambda d: (d/'meta.json').unlink(), 'cut': lambda d: (d/'frames.npy').write_bytes((d/'frames.npy').read_bytes()[:-1000])}.items():
        shutil.copytree(cwd/'data/game', cwd/name)
        spoil(cwd/name)
    weights = (cwd/'runs/game/tokenizer.safetensors').read_bytes()
    (cwd/'damaged.safetensors').write_bytes(weights[:-1000])
    deep = WorldModel.load('platformer')
    deep.dynamics = deeper(deep.dynamics, 9, (1, 3, 8))
    deep.save(cwd/'deep.safetensors')
    (cwd/'foreign.safetensors').write_bytes(os.urandom(1000))
    return cwd

@pytest.mark.parametrize('line, code, message', [
    ('data make --out data/game', 1, 'data/game exists already'),
    ('data make --out sheet.png', 1, 'sheet.png exists already'),
    ('data make --out .', 1, 'choose a place inside it'),
    ('data make --out new --seed -1', 2, "'--seed'"),
    ('data make --out new --frames 5', 1, 'expected at least 10 frames'),
    ('data make --out new --frames 1000000000000', 1, 'MB of room for new'),
    ('data make --frames 20', 2, '--out'),
    ('data make --out new --frames many', 2, '--frames'),
    ('data show nowhere', 1, 'no folder nowhere'),
    ('data show empty', 1, 'empty is not a whole episode store'),
    ('data show half', 1, 'lacks meta.json'),
    ('data show cut', 1, 'cut/frames.npy'),
    ('data show data/game --sheet sheet.png', 1, 'sheet.png exists already'),
    ('data record --env ALE/Breakot-v5 --out new', 1, 'did you mean ALE/Breakout-v5'),
    ('data record --env ALE/Breakout-v5 --out new --option size=6', 2, 'a meaning of its own'),
    ('data record --env ALE/Breakout-v5 --out new --size 60', 2, 'multiple of 8'),
    ('data import empty --out new --size 8', 2, 'from 16 to 1,024'),
    ('data record --env Pendulum-v1 --out new', 1, 'expected discrete actions, got Box'),
    ('data record --env no_such_package:Game-v0 --out new', 1, 'no_such_package, which is not installed'),
    ('data record --env ALE/Breakout-v5 --out data/game', 1, 'data/game exists already'),
    ('data record --env Breakout-v4 --out new', 1, 'take ALE/Breakout-v5'),
    ('data invent x', 2, "No such command 'invent'"),
    ('train tokenizer --data data/game --out new --preset huge', 1, 'nano'),
    ('train tokenizer --data data/game --out new --minutes 1 --epochs 1', 2, 'got both'),
    ('train tokenizer --data data/game --out new --minutes 0', 2, 'positive'),
    ('train tokenizer --data data/game --out new --device abacus', 1, 'got abacus'),
    ('train tokenizer --data data/game --out runs/game', 1, 'tokenizer.safetensors exists already'),
    ('train tokenizer --data data/game --out new --resume', 1, 'nothing to go on from at new'),
    ('train tokenizer --data empty --out new', 1, 'empty is not a whole episode store'),
    ('train tokenizer --data half --out new', 1, 'lacks meta.json'),
    ('train tokenizer --data cut --out new', 1, 'cut/frames.npy'),
    ('train dynamics --data data/game --tokenizer runs --out new', 1, 'no tokenizer at runs'),
    ('train dynamics --data data/game --tokenizer damaged.safetensors --out new', 1, 'damaged.safetensors: '),
    ('train dynamics --data data/game --tokenizer runs/world/world.safetensors --out new', 1, 'another kind of file'),
    ('train dynamics --data data/game --tokenizer runs/game --out runs/world', 1, 'world.safetensors exists already'),
    ('train dynamics --data data/game --tokenizer runs/game --out runs/game', 1, 'history.csv exists already'),
    ('train dynamics --data data/game --tokenizer runs/game --out new --epochs -1', 2, 'positive'),
    ('train dynamics --data data/game --out new', 2, 'one of the two'),
    ('train dynamics --data data/game --tokenizer runs/game --start runs/world --out new', 2, 'one of the two'),
    ('train dynamics --data data/game --start nowhere --out new', 1, 'name out of'),
    ('train dynamics --data data/game --start runs/game --out new', 1, 'got the tokenizer'),
    ('train dynamics --data data/game --start racing --out new', 1, 'with the actions of that world'),
    ('train dynamics --data data/game --start deep.safetensors --preset small --out new', 1, 'expected 9 blocks or more'),
    ('train dynamics --data data/game --tokenizer runs/game --preset huge --out new', 1, 'a preset out of nano, small, base, xl'),
    ('train dynamics --data data/game --tokenizer runs/game --lr -1 --out new', 2, 'positive --lr'),
    ('train dynamics --data data/game --tokenizer runs/game --batch 0 --out new', 2, '--batch of at least 1'),
    ('train tokenizer --data data/game --batch -3 --out new', 2, '--batch of at least 1'),
    ('train dynamics --data data/game --tokenizer runs/game --out new --resume', 1, 'nothing to go on from in new'),
    ('score nowhere --data data/game', 1, "name out of"),
    ('score runs/game --data data/game --json new/r.json --pictures new', 2, 'apart from each other'),
    ('score runs/game --data data/game --pictures new', 1, 'expected a world to draw'),
    ('score runs/world/dynamics.safetensors --data data/game', 1, 'another kind of file'),
    ('score runs/game --data cut', 1, 'cut/frames.npy'),
    ('score runs --data data/game', 1, 'got neither'),
    ('score damaged.safetensors --data data/game', 1, 'damaged.safetensors: '),
    ('score foreign.safetensors --data data/game', 1, 'foreign.safetensors: '),
    ('score runs/game --data data/game --json score.json', 1, 'score.json exists already'),
    ('score runs/game --data data/game --split best', 2, '--split'),
    ('quickstart --out data', 1, 'data exists already'),
    ('quickstart --fast', 2, '--fast'),
    ('quickstart --out new --minutes 0', 2, 'positive'),
    ('quickstart --out new --frames 100', 2, 'at least 130 frames'),
    ('serve runs/world runs/world/world.safetensors runs/world --port 0', 1, 'of different names'),
])
def test_bad_input(broken, line, code, message):
    before = files(broken)
    assert message in run(line, broken, code)[1]
    assert files(broken) == before

@pytest.mark.parametrize('line', ['data make --out new --frames 200', 'data show data/game --sheet new.png', 'train tokenizer --data data/game --out run --epochs 1'])
def test_disk_full(done, tmp_path, line):
    "No file can grow over 10 kB: as if the disk were full in the middle of writing."
    (tmp_path/'data').symlink_to(done[0]/'data')
    assert 'File too large' in run(line, tmp_path, 1, largest=10_000)[1]
    left = {p for p in files(tmp_path) if not p.startswith('data')}
    assert left <= {'run', 'run/history.csv'}

def test_ctrl_c(done, tmp_path):
    "While data are made nothing is left; while training the best so far."
    p = start('data make --out new --frames 20000', tmp_path)
    while p.is_alive() and not list(tmp_path.glob('.new.*/new/frames.npy')): time.sleep(.01)
    os.kill(p.pid, signal.SIGINT)
    assert 'stopped' in finish(p, tmp_path, 130)[1] and files(tmp_path) == {}

    p = start(f'train tokenizer --data {done[0]}/data/game --out run --minutes 0.5', tmp_path)
    while p.is_alive() and 'round 1' not in (tmp_path/'.stdout').read_text(): time.sleep(.05)
    os.kill(p.pid, signal.SIGINT)
    assert 'stopped' in finish(p, tmp_path, 130)[1]
    assert set(files(tmp_path)) <= {'run', 'run/tokenizer.safetensors', 'run/history.csv', 'run/checkpoint.safetensors'}
    load_tokenizer(tmp_path/'run')
