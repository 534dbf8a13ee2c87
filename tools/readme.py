"""Write README.md from nbs/index.ipynb as it is saved, and the pictures it shows into nbs/images/."""
import posixpath, re
from base64 import b64decode
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
NOTE = '<!-- Made from nbs/index.ipynb by `make readme`: change that, not this. -->'
KINDS = {'image/gif': 'gif', 'image/png': 'png', 'image/jpeg': 'jpg'}

def links_from_root(text: str) -> str:
    "A relative link in nbs/ as it reads from the folder above."
    fix = lambda m: m[1] + posixpath.normpath(f'nbs/{m[2]}')
    return re.sub(r'(\]\(|(?:src|href)=")(?!\w+:|#|/)([^)"]+)', fix, text)

def options(source: str) -> tuple[dict, str]:
    "What a cell's `#|` lines say, and the code below them."
    lines = source.splitlines()
    said = [line[2:].strip() for line in lines if line.startswith('#|')]
    return {k.strip(': '): v.strip() for k, _, v in (s.partition(' ') for s in said)}, '\n'.join(l for l in lines if not l.startswith('#|')).strip()

def shown(output, alt: str, pictures: dict) -> str:
    "One saved output as Markdown; a picture joins `pictures` under its file name."
    data = output.get('data', {'text/plain': output.get('text', '')})
    for mime, ext in KINDS.items():
        if mime in data:
            name = f'index-{len(pictures)}.{ext}'
            pictures[name] = b64decode(data[mime])
            return f'![{alt}](nbs/images/{name})'
    for mime in ('text/markdown', 'text/html'):
        if mime in data: return links_from_root(data[mime]).strip()
    return f"```text\n{data['text/plain'].rstrip()}\n```"

def render(nb) -> tuple[str, dict[str, bytes]]:
    "A notebook as Markdown, and its pictures: file name → bytes."
    parts, pictures = [NOTE], {}
    for cell in nb.cells:
        if cell.cell_type == 'markdown': parts.append(links_from_root(cell.source))
        if cell.cell_type != 'code': continue
        opts, code = options(cell.source)
        if 'hide' in opts: continue
        if opts.get('echo') != 'false': parts.append(f'```python\n{code}\n```')
        parts += [shown(o, opts.get('fig-alt', '').strip('"'), pictures) for o in cell.outputs]
    return '\n\n'.join(parts) + '\n', pictures

if __name__ == '__main__':
    text, pictures = render(nbformat.read(ROOT/'nbs/index.ipynb', as_version=4))
    folder = ROOT/'nbs/images'
    folder.mkdir(exist_ok=True)
    for old in folder.glob('index-*'): old.unlink()
    for name, content in pictures.items(): (folder/name).write_bytes(content)
    (ROOT/'README.md').write_text(text, encoding='utf-8')
    print(f'README.md: {len(text.splitlines())} lines, {len(pictures)} pictures')
