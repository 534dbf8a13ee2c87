"""Run notebooks in place, each in a kernel of its own, and save what they print and draw.

    python tools/notebooks.py [NAME ...]       all of them, or e.g. 04_game tutorials/atari

Cells marked `#| slow` or `#| eval: false` are left out and keep the outputs that they had; SLOW=1 runs the slow ones too.
A notebook that fails, or has a cell that takes over half an hour, stays as it was.
"""
import os, re, sys, time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbdev.clean import clean_nb
from nbdev.doclinks import nbglob

NBS = Path(__file__).resolve().parents[1]/'nbs'
WIDGET = 'application/vnd.jupyter.widget-view+json'

def left_out(cell) -> bool:
    "Is this a cell that stays as it is?"
    flags = {line[2:].replace(' ', '') for line in cell.source.splitlines() if line.startswith('#|')}
    return 'eval:false' in flags or 'slow' in flags and not os.environ.get('SLOW') or 'nbdev_export()' in cell.source

class Client(NotebookClient):
    async def async_execute_cell(self, cell, cell_index, **kwargs):
        return cell if left_out(cell) else await super().async_execute_cell(cell, cell_index, **kwargs)

def lasts(output) -> bool:
    "Does an output say anything to a reader of the saved page? A widget, the style of a progress bar, and the rounds of a fit with their times don't."
    data = output.get('data', {})
    html = re.sub(r'(?s)<style>.*?</style>', '', data.get('text/html', 'x'))
    return WIDGET not in data and html.strip() != '' and '<th>train_loss</th>' not in html

def tidy(cell):
    "Leave out what changes from run to run, and the blurred twin of each picture."
    if cell.cell_type != 'code': return
    cell.outputs = [o for o in cell.outputs if lasts(o)]
    for o in cell.outputs:
        if o.output_type == 'stream': o.text = o.text.replace('\r\n', '\n')             # what a command says through a terminal
        if 'image/png' in o.get('data', {}): o.data.pop('image/jpeg', None)

def run(path: Path):
    "Run one notebook and save it."
    nb = nbformat.read(path, as_version=4)
    Client(nb, timeout=1800, extra_arguments=['--log-level=ERROR'], resources={'metadata': {'path': str(path.parent)}}).execute()
    for cell in nb.cells: tidy(cell)
    nb.metadata.pop('widgets', None)
    clean_nb(nb)
    scratch = path.with_suffix('.tmp')
    nbformat.write(nb, scratch)
    scratch.replace(path)

if __name__ == '__main__':
    paths = [NBS/f'{name}.ipynb' for name in sys.argv[1:]] or sorted(nbglob(NBS, as_path=True))
    if missing := [str(p) for p in paths if not p.exists()]: sys.exit(f"notebooks: there is no {', '.join(missing)}")
    failed = []
    for path in paths:
        print(path.relative_to(NBS), end=' ', flush=True)
        start = time.perf_counter()
        try: run(path)
        except (CellExecutionError, CellTimeoutError) as e:
            failed.append(path.stem)
            print(f'failed:\n{e}')
        else: print(f'{time.perf_counter()-start:.0f} s')
    sys.exit(f"failed: {' '.join(failed)}" if failed else 0)
