"""Fetch onnxruntime-web, which the play pages of the site run on, from npm's registry, once."""
import io, os, tarfile, urllib.request
from pathlib import Path

from lightweight_world_model.core import atomic
from lightweight_world_model.export import RUNTIME

FILES = 'ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm'

def fetch_runtime() -> Path: # the folder that holds `FILES`
    "Raises `OSError` without a network."
    version = RUNTIME.split('@')[1].split('/')[0]
    folder = Path(os.environ.get('XDG_CACHE_HOME') or Path.home()/'.cache')/'lightweight_world_model'/f'onnxruntime-web-{version}'
    if folder.is_dir(): return folder
    with urllib.request.urlopen(f'https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{version}.tgz', timeout=60) as page: packed = page.read()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar, atomic(folder) as new:
        new.mkdir()
        for name in FILES: (new/name).write_bytes(tar.extractfile(f'package/dist/{name}').read())
    return folder
