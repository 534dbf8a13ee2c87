"The notebooks, and all that is made from them, are in step, clean and complete."
import ast, os, re, shutil, subprocess, sys
from copy import deepcopy
from pathlib import Path

import nbformat, pytest, yaml
from nbdev.clean import clean_nb

import notebooks, readme
from conftest import ROOT

NBS, LIB = ROOT/'nbs', ROOT/'lightweight_world_model'
PATHS = sorted(p for p in NBS.rglob('*.ipynb') if not any(part.startswith(('.', '_')) for part in p.parts[len(NBS.parts):]))
MODULES = [p for p in PATHS if re.match(r'\d\d_', p.name)]
ids = lambda paths: [p.relative_to(NBS).with_suffix('').as_posix() for p in paths]
every_notebook = pytest.mark.parametrize('path', PATHS, ids=ids(PATHS))
every_module = pytest.mark.parametrize('path', MODULES, ids=ids(MODULES))

def read(path): return nbformat.read(path, as_version=4)
def code_cells(nb): return [c for c in nb.cells if c.cell_type == 'code']
def directives(cell): return {line[2:].split()[0].rstrip(':') for line in cell.source.splitlines() if re.match(r'#\|\s*\w', line)}

def pages(entries):
    "The pages in a sidebar, in order."
    for e in entries:
        if isinstance(e, str): yield e
        else:
            if 'href' in e: yield e['href']
            yield from pages(e.get('contents', []))

SIDEBAR = list(pages(yaml.safe_load((ROOT/'_quarto.yml').read_text())['website']['sidebar']['contents']))

# ---- what is made from the notebooks

def test_export_in_step(tmp_path):
    shutil.copytree(NBS, tmp_path/'nbs', ignore=shutil.ignore_patterns('.*'))
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(ROOT/name, tmp_path)
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}
    subprocess.run([sys.executable, '-c', 'from nbdev import nbdev_export; nbdev_export()'],
                   cwd=tmp_path, env=env, check=True)
    made = {p.name: p.read_text() for p in (tmp_path/LIB.name).glob('*.py')}
    here = {p.name: p.read_text() for p in LIB.glob('*.py')}
    assert sorted(made) == sorted(here), 'run nbdev_export'
    assert not [name for name in made if made[name] != here[name]], 'run nbdev_export'
    assert (tmp_path/'pyproject.toml').read_text() == (ROOT/'pyproject.toml').read_text()

def test_readme_in_step():
    text, pictures = readme.render(read(NBS/'index.ipynb'))
    assert (ROOT/'README.md').read_text(encoding='utf-8') == text, 'run make readme'
    assert {p.name: p.read_bytes() for p in (NBS/'images').glob('index-*')} == pictures, 'run make readme'
    shown = re.findall(r'!\[.*?\]\((.*?)\)|src="(.*?)"', text)
    assert shown and all((ROOT/(a or b)).exists() for a, b in shown)

def test_readme_parts():
    cell = nbformat.v4.new_code_cell('#| echo: false\n#| fig-alt: a dot\nplot()')
    cell.outputs = [nbformat.v4.new_output('display_data', {'image/png': 'aGk=', 'text/plain': 'x'})]
    hidden = nbformat.v4.new_code_cell('#| hide\nimport os')
    code = nbformat.v4.new_code_cell('print(1)', outputs=[nbformat.v4.new_output('stream', text='1\n')])
    links = nbformat.v4.new_markdown_cell('[a](00_core.ipynb) [b](https://x.org) [c](#d) [e](../LICENSE)')
    text, pictures = readme.render(nbformat.v4.new_notebook(cells=[hidden, cell, code, links]))
    assert text.split('\n\n')[1:] == ['![a dot](nbs/images/index-0.png)', '```python\nprint(1)\n```', '```text\n1\n```',
                                      '[a](nbs/00_core.ipynb) [b](https://x.org) [c](#d) [e](LICENSE)\n']
    assert pictures == {'index-0.png': b'hi'}

def test_sidebar():
    assert sorted(SIDEBAR) == [p.relative_to(NBS).as_posix() for p in PATHS]
    assert (NBS/'_quarto.yml').resolve() == ROOT/'_quarto.yml'

def test_index_lists_the_course():
    linked = re.findall(r'\]\(([\w/]+\.ipynb)\)', (NBS/'index.ipynb').read_text())
    assert set(SIDEBAR) - {'index.ipynb'} <= set(linked)

# ---- what a notebook is

@every_notebook
def test_opens_as_the_others(path):
    first, *rest = read(path).cells
    if path in MODULES:
        assert first.source == f'#| default_exp {path.stem[3:]}'
        first = rest[0]
    assert re.match(r'# \S.*\n\n> \S.*\n\n\S', first.source), 'a title, a one-line subtitle, and what the reader will have seen'

@every_module
def test_closes_as_the_others(path):
    nb = read(path)
    assert nb.cells[-1].source == '#| hide\nfrom nbdev import nbdev_export; nbdev_export()'
    closing = ' '.join(c.source for c in nb.cells[-6:] if c.cell_type == 'markdown').lower()
    assert 'what we have now' in closing and 'next' in closing and '](' in closing

@every_notebook
def test_clean(path):
    nb = read(path)
    clean = deepcopy(nb)
    clean_nb(clean)
    for cell in clean.cells: notebooks.tidy(cell)
    assert clean == nb and 'widgets' not in nb.metadata, f'run make notebooks NB={path.relative_to(NBS).with_suffix("")}'
    assert path.stat().st_size < 1_000_000

MACHINE = re.compile(r'/(home|root|Users|opt|work|tmp|private)/\w|site-packages|[A-Z]:\\\\Users|<ipython-input')

@every_notebook
def test_outputs(path):
    nb = read(path)
    assert not MACHINE.search('\n'.join(c.source for c in nb.cells)), 'a path of one machine'
    for cell in code_cells(nb):
        for o in cell.outputs:
            text = str(o.get('text', '')) + str({k: v for k, v in o.get('data', {}).items() if k.startswith('text')})
            assert o.output_type != 'error' and o.get('name') != 'stderr', f'{cell.source}\n{text}'
            assert not MACHINE.search(text) and 'Warning' not in text and '\r' not in text and '<progress' not in text, f'{cell.source}\n{text}'

def prints_or_draws(cell) -> bool:
    "Must this cell have an output? Certainly if it ends with a bare name, or calls print or a picture at the top level."
    last = ast.parse(re.sub(r'^[%!].*', '', cell.source, flags=re.M)).body[-1:]
    if not last or not isinstance(last[0], ast.Expr) or cell.source.rstrip().endswith(';'): return False
    value = last[0].value
    return isinstance(value, ast.Name) or isinstance(value, ast.Call) and getattr(value.func, 'id', '') in ('print', 'contact_sheet', 'filmstrip')

@every_notebook
def test_executed(path):
    missing = [c.source for c in code_cells(read(path)) if prints_or_draws(c) and not c.outputs and not directives(c) & {'eval', 'hide'} and 'widget' not in c.source]
    assert not missing, 'run make notebooks'

@every_notebook
def test_links(path):
    for link in re.findall(r'\]\((?!\w+:|#)([^)#]+)', '\n'.join(c.source for c in read(path).cells if c.cell_type == 'markdown')):
        assert (path.parent/link).exists(), link

@every_module
def test_small_cells(path):
    exported = [c.source for c in code_cells(read(path)) if directives(c) & {'export', 'exports', 'exporti'}]
    code = [re.sub(r"(?s)'''.*?'''", '', s) for s in exported]             # drawings, and scripts for a browser, are as long as they are
    assert exported and max(s.count('\n') for s in code) <= 45

# ---- what a module is

def test_modules_import_from_above():
    order = [p.stem[3:] for p in MODULES]
    above = {m: set(order[:i]) for i, m in enumerate(order)}
    if 'recording' in above: above['recording'], above['cli'] = {'core', 'data', 'widgets', 'serve'}, set(order) - {'cli'}
    for m in order:
        imported = set(re.findall(r'^\s*(?:from|import) (?:lightweight_world_model)?\.(\w+)', (LIB/f'{m}.py').read_text(), flags=re.M))
        assert imported <= above[m], f'{m} imports {imported-above[m]}'

@every_module
def test_public_functions_are_documented(path):
    tree = ast.parse((LIB/f'{path.stem[3:]}.py').read_text())
    public = next(ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == '__all__')
    kinds = (ast.FunctionDef, ast.ClassDef)
    assert not [n.name for n in tree.body if isinstance(n, kinds) and n.name in public and not ast.get_docstring(n)]
