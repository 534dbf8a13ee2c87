"Whatever bytes a file holds: a result or one sentence, soon, and without gigabytes."
import json, shutil, tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

hypothesis = pytest.importorskip('hypothesis', reason='no hypothesis: pip install hypothesis')
from hypothesis import given, settings, strategies as st
from lightweight_world_model.data import EpisodeStore, STORE_FILES, make_game_data
from lightweight_world_model.importing import read_keys, read_picture
from lightweight_world_model.training import Checkpoint, load_tokenizer, save_tokenizer, start_tokenizer
from lightweight_world_model.vqvae import VQVAEConfig
from lightweight_world_model.world import WorldModel, world_path

many = settings(max_examples=150, deadline=20_000)

@contextmanager
def one_sentence(most=300e6):
    "At most a `ValueError` or an `OSError` of one line, and no more memory than `most` bytes."
    tracemalloc.start()
    try: yield
    except (ValueError, OSError) as e: assert str(e) and len(str(e)) < 2000
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < most

@st.composite
def spoilt(draw, whole):
    "A file with some bytes changed, cut out, put in or doubled, mostly near its beginning, where headers are; or bytes of no file at all."
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(data), draw(st.sampled_from([200, 2000, len(data)])))))
        kind, new = draw(st.sampled_from('change cut insert number'.split())), draw(st.binary(min_size=1, max_size=8))
        if kind == 'change': data[at:at+len(new)] = new
        elif kind == 'cut': del data[at:at+draw(st.integers(1, 10_000))]
        elif kind == 'insert': data[at:at] = new
        else: data[at:at+1] = str(draw(st.integers(-10**18, 10**18))).encode()
    return bytes(draw(st.sampled_from([data, data, data, new])))

@pytest.fixture(scope='module')
def game(tmp_path_factory):
    folder = tmp_path_factory.mktemp('fuzz')
    make_game_data(folder/'store', 40)
    return folder

@pytest.mark.parametrize('name', STORE_FILES)
def test_store(game, name):
    whole, copy = (game/'store'/name).read_bytes(), game/f'copy-{name}'
    shutil.copytree(game/'store', copy)
    @many
    @given(spoilt(whole))
    def opens(data):
        (copy/name).write_bytes(data)
        with one_sentence():
            store = EpisodeStore(copy)
            store.read(store.frame_ids('train')[:5])
    opens()

def test_meta_of_any_json(game):
    copy, whole = game/'copy-json', json.loads((game/'store'/'meta.json').read_text())
    shutil.copytree(game/'store', copy)
    value = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from([*whole, 'train', 'valid', 'test']), x, max_size=4), max_leaves=8)
    @many
    @given(st.dictionaries(st.sampled_from(list(whole)), value, max_size=3))
    def opens(changes):
        (copy/'meta.json').write_text(json.dumps(whole | changes))
        with one_sentence(): EpisodeStore(copy)
    opens()

def test_models(game):
    tokenizer = save_tokenizer(start_tokenizer(EpisodeStore(game/'store'), VQVAEConfig(codes=16, stages=1)), game/'tokenizer.safetensors').read_bytes()
    world, bad = world_path('platformer').read_bytes(), game/'bad.safetensors'
    for whole, load in (tokenizer, load_tokenizer), (world, WorldModel.load), (tokenizer, lambda p: Checkpoint(p, {}, True).read()):
        @settings(max_examples=60, deadline=20_000)
        @given(spoilt(whole))
        def opens(data):
            bad.write_bytes(data)
            with one_sentence(): load(bad)
        opens()

def test_keys_and_pictures(game):
    log = b'time_s,key,event\n' + b'\n'.join(b'%d.5,left,%s' % (i, b'up' if i % 2 else b'down') for i in range(50))
    (game/'p.png').unlink(missing_ok=True)
    from PIL import Image
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(game/'p.png')
    for whole, load, name in (log, read_keys, 'bad.csv'), ((game/'p.png').read_bytes(), read_picture, 'bad.png'):
        @many
        @given(spoilt(whole) | st.binary(max_size=200))
        def opens(data):
            (game/name).write_bytes(data)
            with one_sentence(): load(game/name)
        opens()
