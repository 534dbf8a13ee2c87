"The wheel, built from the source distribution and installed where nothing of this checkout is."
import shutil, subprocess, sys, sysconfig
from configparser import ConfigParser
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from conftest import ROOT

def run(*args, cwd):
    done = subprocess.run([str(a) for a in args], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout

@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    "A virtual environment that holds the wheel, and sees the packages of this one but not this checkout."
    tmp = tmp_path_factory.mktemp('wheel')
    source = tmp/'source'
    shutil.copytree(ROOT/'lightweight_world_model', source/'lightweight_world_model', ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('settings.ini', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'CHANGELOG.md', 'CONTRIBUTING.md'):
        shutil.copy(ROOT/name, source)
    (source/'lightweight_world_model/worlds').mkdir(exist_ok=True)
    (source/'lightweight_world_model/worlds/a_world.safetensors').write_bytes(b'weights')
    run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', tmp/'dist', source, cwd=tmp)
    run(sys.executable, '-m', 'venv', tmp/'venv', cwd=tmp)
    python = tmp/'venv/bin/python'
    run(python, '-m', 'pip', 'install', '--no-deps', '--no-index', '--disable-pip-version-check', *tmp.glob('dist/*.whl'), cwd=tmp)
    site = Path(run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))', cwd=tmp).strip())
    (site/'packages_of_the_tests.pth').write_text(sysconfig.get_path('purelib'))
    return tmp, python, site

def test_imports_and_works_outside_the_checkout(installed):
    tmp, python, site = installed
    modules = sorted(p.stem for p in (ROOT/'lightweight_world_model').glob('*.py') if p.stem != '__init__')
    script = f'''
import importlib, numpy as np
for name in {modules}: importlib.import_module('lightweight_world_model.'+name)
from lightweight_world_model.core import psnr, to_float, to_uint8
frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
assert (to_uint8(to_float(frames)) == frames).all() and psnr(to_float(frames), to_float(frames)).min() == 100
import lightweight_world_model as lwm
print(lwm.__file__)
'''
    assert Path(run(python, '-I', '-c', script, cwd=tmp).split()[-1]).is_relative_to(site)

def test_reconstructs(installed):
    "A tokenizer started on a few frames, written, read again, redraws frames of another level."
    tmp, python, _ = installed
    script = '''
import warnings; warnings.simplefilter('ignore')
import torch
from lightweight_world_model.core import psnr
from lightweight_world_model.data import make_game_data
from lightweight_world_model.training import load_tokenizer, save_tokenizer, start_tokenizer
from lightweight_world_model.vqvae import preset
store = make_game_data('game', 100)
model, _ = load_tokenizer(save_tokenizer(start_tokenizer(store, preset('nano')), 'run/tokenizer.safetensors'))
frames = store.read(store.frame_ids('test'))
with torch.no_grad(): redrawn = model.decode(model.encode(frames)).clamp(0, 1)
print(psnr(redrawn, frames).mean().item())
'''
    assert float(run(python, '-I', '-c', script, cwd=tmp)) > 15

def test_command(installed):
    tmp, python, _ = installed
    assert 'Usage: lwm' in run(python.parent/'lwm', '--help', cwd=tmp)

def test_what_it_carries(installed):
    tmp, python, site = installed
    assert (site/'lightweight_world_model/worlds/a_world.safetensors').read_bytes() == b'weights'
    assert not list(site.glob('tests')) + list(site.glob('tools')) + list(site.glob('nbs'))
    meta = PathDistribution(next(site.glob('lightweight_world_model-*.dist-info'))).metadata
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini')
    extras = {key.removesuffix('_requirements') for key in cfg['DEFAULT'] if key.endswith('_requirements')}
    assert set(meta.get_all('Provides-Extra')) == extras and meta['Requires-Python'] == '>=3.10'
    assert (meta['License-Expression'] or meta['License']) == 'MIT' and 'World models' in meta['Summary']
