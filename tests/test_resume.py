"A training that is killed, at whatever moment, goes on to the very weights that it would have had."
import os, shutil, signal, time
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.numpy import load_file

from commands import finish, run, start
from lightweight_world_model.data import EpisodeStore
from lightweight_world_model.world import WorldModel

def killed(line, cwd, when):
    "Run a command; kill it as soon as `when()` is true, without a chance to tidy up."
    p = start(line, cwd)
    while not when() and p.is_alive(): time.sleep(.002)
    p.kill()
    p.join()
    assert p.exitcode == -signal.SIGKILL, 'it was over before it could be killed'

def working_in(folder):
    "The processes, of those that Linux lists, that were started in this folder."
    found = []
    for p in Path('/proc').glob('[0-9]*/cwd'):
        with suppress(OSError):
            if p.readlink() == folder: found.append(p.parent.name)
    return found

def all_leave(folder):
    until = time.monotonic()+30
    while working_in(folder) and time.monotonic() < until: time.sleep(.1)
    assert working_in(folder) == []

def same(a, b):
    a, b = load_file(a), load_file(b)
    assert a.keys() == b.keys()
    return [k for k in a if not (a[k] == b[k]).all()]

@pytest.fixture(scope='module')
def game(tmp_path_factory):
    folder = tmp_path_factory.mktemp('resume')
    run('data make --out data --frames 300', folder)
    return folder

def test_tokenizer(game):
    train, out = 'train tokenizer --data data --epochs 3 --out', game/'torn'
    run(f'{train} whole', game)
    writing = lambda: any(p.name.startswith('.checkpoint') and any(p.iterdir()) for p in (out.iterdir() if out.exists() else ()))     # in the middle of a file
    killed(f'{train} torn', game, (out/'checkpoint.safetensors').exists)
    assert 'another batch size: 17, where it was 16' in run(f'{train} torn --batch 17 --resume', game, 1)[1]
    killed(f'{train} torn --resume', game, writing)
    first = (out/'checkpoint.safetensors').stat().st_mtime_ns
    killed(f'{train} torn --resume', game, lambda: (out/'checkpoint.safetensors').stat().st_mtime_ns != first)
    run(f'{train} torn --resume', game)
    assert same(game/'whole'/'tokenizer.safetensors', out/'tokenizer.safetensors') == []
    assert not (out/'checkpoint.safetensors').exists()
    run(f'{train} torn --resume', game, 1)

def test_dynamics(game):
    train, out = 'train dynamics --data data --epochs 3 --tokenizer', game/'torn_world'
    run(f'{train} whole --out whole_world', game)
    killed(f'{train} whole --out torn_world', game, (out/'checkpoint.safetensors').exists)
    assert 'another seed: 7, where it was 0' in run(f'{train} whole --out torn_world --resume --seed 7', game, 1)[1]
    run('train tokenizer --data data --out another --epochs 1 --seed 1', game)
    assert 'another tokenizer or data' in run(f'{train} another --out torn_world --resume', game, 1)[1] and (out/'checkpoint.safetensors').exists()
    run(f'{train} whole --out torn_world --resume', game)
    assert same(game/'whole_world'/'dynamics.safetensors', out/'dynamics.safetensors') == []

def test_start(game):
    "Going on from a world is a run of its own kind: it goes on only as that."
    train, out = 'train dynamics --data data --epochs 3 --out', game/'torn_start'
    run(f'{train} whole_start --start whole_world', game)
    killed(f'{train} torn_start --start whole_world', game, (out/'checkpoint.safetensors').exists)
    for other, message in ('--tokenizer whole', 'another start'), ('--start whole_start', 'another start'), ('--start whole_world --lr .003', 'another lr: 0.003, where it was 0.002'), ('--start whole_world --batch 25', 'another batch size: 25, where it was 24'):
        assert message in run(f'{train} torn_start {other} --resume', game, 1)[1]
    run(f'{train} torn_start --start whole_world --resume', game)
    assert same(game/'whole_start'/'dynamics.safetensors', out/'dynamics.safetensors') == []
    assert WorldModel.load(out/'world.safetensors').info['dynamics']['mean_with_start'] in (True, False)      # it says which it is
    rounds = (out/'history.csv').read_text().splitlines()
    assert [line.split(',')[0] for line in rounds] == ['epoch', '0', '1', '2']

def test_disk_full(game):
    train, left = 'train tokenizer --data data --epochs 3 --out full', game/'full'/'checkpoint.safetensors'
    killed(train, game, left.exists)
    for p in left.parent.glob('.*'): shutil.rmtree(p)                                         # what it was just writing, if it was
    files = {p: p.read_bytes() for p in (left, left.with_name('tokenizer.safetensors'))}
    assert 'safetensors' in run(f'{train} --resume', game, 1, largest=10**6)[1]
    assert {p: p.read_bytes() for p in files} == files
    assert {p.name for p in left.parent.iterdir()} == {left.name, 'tokenizer.safetensors', 'history.csv'}
    run(f'{train} --resume', game)
    assert same(game/'whole'/'tokenizer.safetensors', game/'full'/'tokenizer.safetensors') == []

def test_minutes(game, monkeypatch):
    "With a budget by the clock, what was spent before is spent."
    from fastai.basics import Callback
    from lightweight_world_model import training
    from lightweight_world_model.vqvae import preset
    ticks, store = count(), EpisodeStore(game/'data')
    monkeypatch.setattr(training, 'time', SimpleNamespace(monotonic=lambda: float(next(ticks)), perf_counter=time.perf_counter))     # a second passes whenever somebody looks
    class Steps(Callback):
        order, n = 100, 0
        def __init__(self, last): self.last = last
        def after_batch(self): self.n += self.training
        def after_epoch(self):
            if self.epoch == self.last: raise KeyboardInterrupt
    def train(resume, last=None):
        steps = Steps(last)
        learn = training.TokenizerLearner(training.tokenizer_dls(store), training.start_tokenizer(store, preset('nano')), cbs=[training.Checkpoint(game/'clock.safetensors', {}, resume), steps])
        with learn.no_bar(), learn.no_logging(), suppress(KeyboardInterrupt): training.fit_tokenizer(learn, minutes=3)
        return steps.n
    whole, before, after = train(False), train(False, last=3), train(True)
    assert whole > 40 and .3*whole < before < .6*whole and abs(before + after - whole) < 4

@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_folder_that_may_not_be_written_to(game):
    out = game/'locked'
    out.mkdir()
    out.chmod(0o555)
    run('train tokenizer --data data --out locked --epochs 1', game, 1)
    out.chmod(0o755)
    assert list(out.iterdir()) == []

def test_a_score_that_is_no_number_is_not_the_best(tmp_path):
    from lightweight_world_model.training import KeepBest
    kept = KeepBest(tmp_path/'tokenizer.safetensors')
    kept.best = 30.
    kept.keep_if_best(float('nan'))
    assert kept.best == 30 and list(tmp_path.iterdir()) == []

def test_nothing_to_score_is_said_before_training(tmp_path):
    import numpy as np
    from lightweight_world_model.training import train_tokenizer
    store = EpisodeStore.write(tmp_path/'data', [(np.zeros((40, 64, 64, 3), np.uint8), np.zeros(40, int))]*2, ['none'], 15, 'nothing', splits={'train': [0], 'valid': [1], 'test': []})
    for wrong, name in ('split test', 'nano'), ('a preset out of', 'huge'):
        with pytest.raises(ValueError, match=wrong): train_tokenizer(store, tmp_path/'out', name, epochs=1)
    assert not (tmp_path/'out').exists()

def test_killed_recording_leaves_no_player(tmp_path):
    pytest.importorskip('ale_py', reason='no Atari games: pip install lightweight_world_model[games]')
    killed('data record --env ALE/Breakout-v5 --out games --frames 20000 --workers 2', tmp_path, (tmp_path/'games.unfinished/meta.json').exists)
    all_leave(tmp_path)

def test_recording(tmp_path):
    pytest.importorskip('ale_py', reason='no Atari games: pip install lightweight_world_model[games]')
    left, record = tmp_path/'games.unfinished', 'data record --env ALE/Breakout-v5 --out games --frames 20000'
    killed(record, tmp_path, (left/'meta.json').exists)
    all_leave(tmp_path)                                                          # also the process that shrinks pictures
    store = EpisodeStore(left)
    assert store.n_episodes >= 1 and store.frames[-1].any()
    assert 'rename it to keep it' in run(record, tmp_path, 1)[1]
    left.rename(tmp_path/'mine')
    p = start(record, tmp_path)
    while not (left/'meta.json').exists() and p.is_alive(): time.sleep(.01)
    os.kill(p.pid, signal.SIGINT)
    assert 'stopped' in finish(p, tmp_path, 130)[1]
    assert EpisodeStore(tmp_path/'games').n_episodes >= 1 and not left.exists()
