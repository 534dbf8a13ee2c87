"Without the optional packages, modules import all the same, and what needs a package says how to get it."
import subprocess, sys

SCRIPT = '''
import sys, warnings; warnings.simplefilter('ignore')
for name in ('gymnasium', 'anywidget', 'onnx', 'onnxscript', 'onnxruntime', 'fastapi', 'gradio', 'av'): sys.modules[name] = None       # as if it were not installed
from lightweight_world_model.demo import make_demo
from lightweight_world_model.export import OnnxWorld
from lightweight_world_model.importing import length_of
from lightweight_world_model.serve import make_app
from lightweight_world_model.widgets import DreamPlayer
from lightweight_world_model.world import DreamEnv
for make in (DreamEnv, DreamPlayer, OnnxWorld, make_app, make_demo, length_of):
    try: make(None)
    except ImportError as e: print(e)
'''

def test_missing_extras():
    done = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    extras = dict(gymnasium='games', anywidget='play', onnxruntime='export', fastapi='serve', gradio='demo', av='video')
    assert done.stdout.splitlines() == [f"this needs {module}: pip install 'lightweight_world_model[{extra}]'" for module, extra in extras.items()]
