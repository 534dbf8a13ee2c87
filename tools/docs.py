"""Build the documentation site into _docs/: nbdev stages the notebooks in _proc/, then Quarto renders them, or smalldocs where there is no Quarto.

nbdev's own pages leave out the exported code, and whatever stands under the title in its cell. A course is about its code, so this
shows it, below a table of what it takes and gives.

Last, a page for each world that ships, on which a browser plays it: see nbs/11_export.ipynb.
"""
import ast, inspect, re, shutil, subprocess, sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from execnb.nbio import mk_cell
from fastcore.docments import docments, empty
from nbdev import serve
from nbdev.config import get_config
from nbdev.doclinks import _build_modidx, _nbpath2html, nbglob
from nbdev.process import Processor
from nbdev.processors import FilterDefaults, _default_exp, _is_showdoc, add_links, exec_show_docs, mv_exports, rm_export
from nbdev.quarto import refresh_quarto_yml
from nbdev.showdoc import BasicMarkdownRenderer, show_doc

ROOT = Path(__file__).resolve().parents[1]
PROC, DOCS = ROOT/'_proc', ROOT/'_docs'

class keep_intro(Processor):
    "The title and the subtitle become the page's header; what else stands in their cell moves into one of its own."
    def begin(self):
        for i, cell in enumerate(self.nb.cells):
            if m := cell.cell_type == 'markdown' and re.match(r'(# .*\n+(?:> .*\n)?)\s*(\S.*)', cell.source, flags=re.S):
                cell.source = m[1]
                return self.nb.cells.insert(i+1, mk_cell(m[2], 'markdown'))

def show_source(cell):
    "Keep the exported cells, which nbdev would remove, but for imports."
    code = ast.parse(cell.source).body if cell.cell_type == 'code' and cell.directives_.keys() & {'export', 'exporti'} else []
    cell.shown = bool(code) and not isinstance(code[0], (ast.Import, ast.ImportFrom))
    if cell.shown and 'export' in cell.directives_: cell.directives_['exports'] = cell.directives_.pop('export')

def rm_hidden(cell):
    "Remove what nbdev removes, but for what `show_source` keeps."
    if not cell.get('shown') or 'hide' in cell.directives_: rm_export(cell)

def row(name, anno=empty, default=empty, docment=None, **_):
    "One line of a table of parameters."
    kind = '' if anno in (empty, None) else f"`{re.sub(r'[a-zA-Z_]+[.]', '', inspect.formatannotation(anno))}`"
    cells = [name, kind if default is empty else f'{kind} = `{default!r}`', docment or '']
    return '| ' + ' | '.join(c.replace('|', r'\|').replace('\n', ' ') for c in cells) + ' |\n'

class ApiTable(BasicMarkdownRenderer):
    "Name, docstring, and a table of what goes in and what comes out; the signature stands in the source below."
    def _repr_markdown_(self):
        said = {('**returns**' if name == 'return' else name): d for name, d in docments(self.sym, full=True).items() if d['docment']}
        table = '| | Type | |\n|---|---|---|\n' + ''.join(row(name, **d) for name, d in said.items())
        return f"{'#'*self.title_level} {self.nm}\n\n*{self.docs}*\n\n{table if said else ''}"

class show_api(exec_show_docs):
    "Make the tables from the installed module; nbdev would run every cell that has an import in it."
    def begin(self):
        super().begin()
        self.k.user_ns['show_doc'] = partial(show_doc, renderer=ApiTable)
        if module := _default_exp(self.nb): self.k.run_cell(f'from {get_config().lib_name}.{module} import *')
    def __call__(self, cell):
        if cell.source and _is_showdoc(cell): self.k.cell(cell)
        if self.k.exc: raise ValueError(f'{self.nb.path_}: {cell.source}') from self.k.exc
    def end(self): pass

class tables_first(Processor):
    "The tables of an exported cell stand before it, in its own order."
    def begin(self):
        todo, self.nb.cells = list(self.nb.cells), []
        while todo:
            cell, tables = todo.pop(0), []
            while todo and todo[0].get('has_sd'): tables.insert(0, todo.pop(0))
            self.nb.cells += [*tables, cell]

class link_notebooks(Processor):
    "nbdev links a name in backticks to its page on the web: link it to the notebook, which each renderer turns into its own page."
    def begin(self):
        cfg = get_config()
        self.pages = {_nbpath2html(p).name: p.name for p in nbglob(as_path=True)}
        self.site = re.escape(cfg.doc_host+cfg.doc_baseurl) + r'/(\w+\.html)'
        self.up = '../'*(len(Path(self.nb.path_).resolve().relative_to(ROOT/'nbs').parts)-1)
    def relative(self, text): return re.sub(self.site, lambda m: self.up+self.pages[m[1]] if m[1] in self.pages else m[0], text)
    def cell(self, cell):
        if cell.cell_type == 'markdown' and cell.source: cell.source = self.relative(cell.source)
        for o in cell.get('outputs', []):
            if lines := o.get('data', {}).get('text/markdown'): o['data']['text/markdown'] = self.relative(''.join(lines))

class Course(FilterDefaults):
    "nbdev's steps from a notebook to a page, with those above among them."
    def base_procs(self):
        other = {rm_export: [rm_hidden], exec_show_docs: [show_api], mv_exports: [tables_first], add_links: [add_links, link_notebooks]}
        return [keep_intro, show_source] + [q for p in super().base_procs() for q in other.get(p, [p])]

def stage():
    "Notebooks to _proc/, with API tables, without what is hidden."
    for folder in (PROC, DOCS): shutil.rmtree(folder, ignore_errors=True)
    refresh_quarto_yml()
    _build_modidx()
    serve.FilterDefaults = Course
    serve.proc_nbs(n_workers=0)

def render():
    "_proc/ to _docs/."
    if shutil.which('quarto'): command = ['quarto', 'render', '--no-execute']
    elif find_spec('smalldocs'): command = [sys.executable, '-m', 'smalldocs.cli', 'render']
    else: sys.exit('docs: this needs Quarto (quarto.org), or Python 3.11 or later for smalldocs')
    done = subprocess.run(command, cwd=PROC, capture_output=True, text=True)
    print(*(line for line in (done.stdout+done.stderr).splitlines() if 'output-file' not in line), sep='\n')
    if done.returncode: sys.exit('docs: the pages could not be rendered')
    shutil.move(PROC/DOCS.name, DOCS)

def play_pages():
    "Each world that ships to _docs/play/, with what the pages run on; without a network they take that from where it is published."
    from lightweight_world_model.export import RUNTIME, export_world, write_page
    from lightweight_world_model.world import WorldModel, world_names
    from runtime import fetch_runtime
    try: runtime = shutil.copytree(fetch_runtime(), DOCS/'play/runtime') and '../runtime'
    except OSError as e:
        print(f'docs: the play pages will load {RUNTIME}, since it could not be fetched: {e}')
        runtime = RUNTIME
    for name in world_names():
        export_world(WorldModel.load(name), DOCS/'play'/name)
        write_page(DOCS/'play'/name, name, runtime)

if __name__ == '__main__':
    stage()
    render()
    play_pages()
    print(f'docs: open {DOCS.relative_to(ROOT)}/index.html')
