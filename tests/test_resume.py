"A training that is killed, at whatever moment, goes on to the very weights that it would have had."
import os, shutil, signal, subprocess, sys, time
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.numpy import load_file

LWM = [sys.executable, '-W', 'ignore', '-c', 'from lightweight_world_model.cli import main; main()']

def lwm(*args, check=True, **how):
    done = subprocess.run([*LWM, *map(str, args)], capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}, **how)
    assert not check or done.returncode == 0, done.stderr
    return done

def killed(args, when):
    "Run a command; kill it as soon as `when()` is true, without a chance to tidy up."
    p = subprocess.Popen([*LWM, *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    while not when() and p.poll() is None: time.sleep(.002)
    p.send_signal(signal.SIGKILL)
    assert p.wait() == -signal.SIGKILL, 'it was over before it could be killed'

def about(word):
    "The processes, of those that Linux lists, that were started with this word."
    found = []
    for p in Path('/proc').glob('[0-9]*/cmdline'):
        with suppress(OSError):
            if str(word).encode() in p.read_bytes(): found.append(p.parent.name)
    return found

def same(a, b):
    a, b = load_file(a), load_file(b)
    assert a.keys() == b.keys()
    return [k for k in a if not (a[k] == b[k]).all()]

@pytest.fixture(scope='module')
def game(tmp_path_factory):
    folder = tmp_path_factory.mktemp('resume')
    lwm('data', 'make', '--out', folder/'data', '--frames', 300)
    return folder

def test_tokenizer(game):
    def train(name, *more): return ['train', 'tokenizer', '--data', game/'data', '--out', game/name, '--epochs', 3, *more]
    lwm(*train('whole'))
    out = game/'torn'
    writing = lambda: any(p.name.startswith('.checkpoint') and any(p.iterdir()) for p in (out.iterdir() if out.exists() else ()))     # in the middle of a file
    killed(train('torn'), (out/'checkpoint.safetensors').exists)
    other = lwm(*train('torn', '--batch', 17, '--resume'), check=False)
    assert other.returncode == 1 and 'another batch size: 17, where it was 16' in other.stderr and len(other.stderr.splitlines()) == 1
    killed(train('torn', '--resume'), writing)
    first = (out/'checkpoint.safetensors').stat().st_mtime_ns
    killed(train('torn', '--resume'), lambda: (out/'checkpoint.safetensors').stat().st_mtime_ns != first)
    lwm(*train('torn', '--resume'))
    assert same(game/'whole'/'tokenizer.safetensors', out/'tokenizer.safetensors') == []
    assert not (out/'checkpoint.safetensors').exists()
    again = lwm(*train('torn', '--resume'), check=False)
    assert again.returncode == 1 and len(again.stderr.splitlines()) == 1

def test_dynamics(game):
    def train(name, *more): return ['train', 'dynamics', '--data', game/'data', '--tokenizer', game/'whole', '--out', game/name, '--epochs', 3, *more]
    lwm(*train('whole_world'))
    out = game/'torn_world'
    killed(train('torn_world'), (out/'checkpoint.safetensors').exists)
    other = lwm(*train('torn_world', '--resume', '--seed', 7), check=False)
    assert other.returncode == 1 and 'another seed: 7, where it was 0' in other.stderr and len(other.stderr.splitlines()) == 1
    lwm('train', 'tokenizer', '--data', game/'data', '--out', game/'another', '--epochs', 1, '--seed', 1)
    other = lwm(*train('torn_world', '--tokenizer', game/'another', '--resume'), check=False)
    assert other.returncode == 1 and 'another tokenizer or data' in other.stderr and (out/'checkpoint.safetensors').exists()
    lwm(*train('torn_world', '--resume'))
    assert same(game/'whole_world'/'dynamics.safetensors', out/'dynamics.safetensors') == []

def test_start(game):
    "Going on from a world is a run of its own kind: it goes on only as that."
    def train(name, *more): return ['train', 'dynamics', '--data', game/'data', '--out', game/name, '--epochs', 3, *more]
    start, out = ('--start', game/'whole_world'), game/'torn_start'
    lwm(*train('whole_start', *start))
    killed(train('torn_start', *start), (out/'checkpoint.safetensors').exists)
    other = lwm(*train('torn_start', '--tokenizer', game/'whole', '--resume'), check=False)
    assert other.returncode == 1 and 'another start' in other.stderr and len(other.stderr.splitlines()) == 1
    other = lwm(*train('torn_start', *start, '--lr', .003, '--resume'), check=False)
    assert other.returncode == 1 and 'another lr: 0.003, where it was 0.002' in other.stderr and len(other.stderr.splitlines()) == 1
    other = lwm(*train('torn_start', *start, '--batch', 25, '--resume'), check=False)
    assert other.returncode == 1 and 'another batch size: 25, where it was 24' in other.stderr and len(other.stderr.splitlines()) == 1
    lwm(*train('torn_start', *start, '--resume'))
    assert same(game/'whole_start'/'dynamics.safetensors', out/'dynamics.safetensors') == []
    rounds = (out/'history.csv').read_text().splitlines()
    assert [line.split(',')[0] for line in rounds] == ['epoch', '0', '1', '2']

def test_disk_full(game):
    def train(*more): return ['train', 'tokenizer', '--data', game/'data', '--out', game/'full', '--epochs', 3, *more]
    left = game/'full'/'checkpoint.safetensors'
    killed(train(), left.exists)
    for p in left.parent.glob('.*'): shutil.rmtree(p)                                         # what it was just writing, if it was
    files = {p: p.read_bytes() for p in (left, left.with_name('tokenizer.safetensors'))}
    resource = pytest.importorskip('resource', reason='Windows has no such limits')
    small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))                 # no file may grow beyond one megabyte
    done = lwm(*train('--resume'), check=False, preexec_fn=small)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and 'safetensors' in done.stderr
    assert {p: p.read_bytes() for p in files} == files
    assert {p.name for p in left.parent.iterdir()} == {left.name, 'tokenizer.safetensors', 'history.csv'}
    lwm(*train('--resume'))
    assert same(game/'whole'/'tokenizer.safetensors', game/'full'/'tokenizer.safetensors') == []

def test_minutes(game, monkeypatch):
    "With a budget by the clock, what was spent before is spent."
    from fastai.basics import Callback
    from lightweight_world_model import training
    from lightweight_world_model.data import EpisodeStore
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

@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, 'geteuid') else True, reason='root may write everywhere, and Windows has no such rights')
def test_folder_that_may_not_be_written_to(game):
    out = game/'locked'
    out.mkdir()
    out.chmod(0o555)
    done = lwm('train', 'tokenizer', '--data', game/'data', '--out', out, '--epochs', 1, check=False)
    out.chmod(0o755)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and list(out.iterdir()) == []

def test_a_score_that_is_no_number_is_not_the_best(tmp_path):
    from lightweight_world_model.training import KeepBest
    kept = KeepBest(tmp_path/'tokenizer.safetensors')
    kept.best = 30.
    kept.keep_if_best(float('nan'))
    assert kept.best == 30 and list(tmp_path.iterdir()) == []

def test_nothing_to_score_is_said_before_training(tmp_path):
    import numpy as np
    from lightweight_world_model.data import EpisodeStore
    from lightweight_world_model.training import train_tokenizer
    store = EpisodeStore.write(tmp_path/'data', [(np.zeros((40, 64, 64, 3), np.uint8), np.zeros(40, int))]*2, ['none'], 15, 'nothing', splits={'train': [0], 'valid': [1], 'test': []})
    for wrong, name in ('split test', 'nano'), ('a preset out of', 'huge'):
        with pytest.raises(ValueError, match=wrong): train_tokenizer(store, tmp_path/'out', name, epochs=1)
    assert not (tmp_path/'out').exists()

def test_killed_recording_leaves_no_player(tmp_path):
    pytest.importorskip('ale_py', reason='no Atari games: pip install lightweight_world_model[games]')
    killed(['data', 'record', '--env', 'ALE/Breakout-v5', '--out', tmp_path/'games', '--frames', 20_000, '--workers', 2], (tmp_path/'games.unfinished/meta.json').exists)
    until = time.monotonic()+30
    while about(tmp_path/'games') and time.monotonic() < until: time.sleep(.1)
    assert about(tmp_path/'games') == []

def test_recording(tmp_path):
    pytest.importorskip('gymnasium', reason='no gymnasium: pip install lightweight_world_model[games]')
    from lightweight_world_model.data import EpisodeStore
    left, args = tmp_path/'games.unfinished', ['data', 'record', '--env', 'ALE/Breakout-v5', '--out', tmp_path/'games', '--frames', 20_000]
    killed(args, (left/'meta.json').exists)
    until = time.monotonic()+30
    while about(tmp_path/'games') and time.monotonic() < until: time.sleep(.1)
    assert about(tmp_path/'games') == []                                         # the process that shrinks pictures has left too
    store = EpisodeStore(left)
    assert store.n_episodes >= 1 and store.frames[-1].any()
    again = lwm(*args, check=False)
    assert again.returncode == 1 and 'rename it to keep it' in again.stderr and len(again.stderr.splitlines()) == 1
    left.rename(tmp_path/'mine')
    p = subprocess.Popen([*LWM, *map(str, args)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    while not (left/'meta.json').exists() and p.poll() is None: time.sleep(.01)
    p.send_signal(signal.SIGINT)
    assert 'stopped' in p.communicate()[1] and p.returncode == 130
    assert EpisodeStore(tmp_path/'games').n_episodes >= 1 and not left.exists()
