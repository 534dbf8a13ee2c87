"""How `lwm serve` bears up: speed of one player and of eight, answers under load, nonsense, and half an hour of coming and going.

    python tools/soak.py --minutes 30 --nonsense 10000 --json soak.json
"""
import argparse, base64, io, json, random, re, signal, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from websockets.sync.client import connect

@contextmanager
def server(*args):
    "A server as a process of its own; gives its address and its process."
    p = subprocess.Popen([sys.executable, '-c', 'from lightweight_world_model.cli import main; main()', 'serve', *args, '--port', '0'], stdout=subprocess.PIPE, text=True)
    try: yield re.match(r'(http://127\.0\.0\.1:\d+/) to play', p.stdout.readline())[1], p
    finally:
        p.send_signal(signal.SIGINT)
        try: p.wait(20)
        except subprocess.TimeoutExpired: p.kill()

def memory(p):
    "What a process holds in memory, in MB."
    return int(subprocess.run(['ps', '-o', 'rss=', '-p', str(p.pid)], capture_output=True, text=True).stdout)/1024

def play(address, seconds, fps=None, seed=0, world='platformer'):
    "Play for so long, as fast as it goes or at so many frames a second → milliseconds of each frame."
    rng, took = random.Random(seed), []
    with connect(address.replace('http', 'ws')+f'play?world={world}') as ws:
        n = len(json.loads(ws.recv())['names'])
        began = time.perf_counter()
        while (now := time.perf_counter()) < began+seconds:
            ws.send(json.dumps({'do': 'step', 'action': rng.randrange(n)}))
            for _ in range(json.loads(ws.recv())['frames']): ws.recv()
            took.append(1e3*(time.perf_counter()-now))
            if fps: time.sleep(max(0, 1/fps-(time.perf_counter()-now)))
    return took

def png(seed):
    "A picture of noise, as a PNG file."
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, 'PNG')
    return file.getvalue()

def nonsense(client, rng):
    "One request that no honest client would send → its status."
    good = png(rng.randrange(1000))
    junk = rng.randbytes(rng.randrange(2000))
    at = rng.randrange(len(good))
    body = rng.choice([junk, b'', good[:at], good[:at]+junk+good[at:], b'{}', b'[', b'{"tokens": [[[1e9]]]}', json.dumps({'tokens': rng.choice([None, [], [[[-1]]], [[[1]*4]*8]*9, 'x'])}).encode(),
                       json.dumps({'frames': [base64.b64encode(junk).decode()]*rng.randrange(3), 'actions': [rng.randrange(-9, 99)], 'then': rng.choice([[], [0], [10**12], ['a']])}).encode()])
    path = rng.choice(['reconstruct', 'encode', 'decode', 'predict', 'worlds', 'play', 'nowhere', '%00', '../../etc/passwd', 'reconstruct?world=x', 'reconstruct?answer=9'])
    return client.request(rng.choice(['POST', 'POST', 'POST', 'PUT', 'GET', 'DELETE']), path, content=body, headers={'content-type': rng.choice(['application/json', 'image/png', 'x', 'multipart/form-data'])}).status_code

def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--minutes', type=float, default=30, help='of coming and going')
    a.add_argument('--nonsense', type=int, default=10_000, help='malformed requests')
    a.add_argument('--requests', type=int, default=2_000, help='pictures to be redrawn by eight clients')
    a.add_argument('--seconds', type=float, default=20, help='of each measurement of speed')
    a.add_argument('--json', type=Path)
    a = a.parse_args()
    found = {}
    def say(what, value): found[what] = value; print(f'{what}: {value}', flush=True)

    with server('platformer', 'racing') as (address, p), httpx.Client(base_url=address, timeout=60) as client:
        # one player beside the engine alone, in turn, so that a busy machine is equally unkind to both
        from lightweight_world_model.world import WorldModel
        world = WorldModel.load('platformer')
        world.reset()
        def alone(seconds):
            took, began = [], time.perf_counter()
            while (now := time.perf_counter()) < began+seconds:
                world.step(random.randrange(6)); took.append(1e3*(time.perf_counter()-now))
            return took
        engine, served = [], []
        for i in range(4): engine += alone(a.seconds/4); served += play(address, a.seconds/4, seed=i)
        say('engine alone, frames/s (median)', round(1e3/np.median(engine), 1))
        say('through the server, frames/s (median)', round(1e3/np.median(served), 1))
        say('share of the engine', round(float(np.median(engine)/np.median(served)), 3))
        with ThreadPoolExecutor(8) as pool: eight = list(pool.map(lambda i: play(address, a.seconds, seed=i), range(8)))
        say('eight at once, frames/s each', [round(len(t)/a.seconds, 1) for t in eight])
        say('eight at once, slowest hundredth of their frames, ms', round(float(np.percentile(np.concatenate(eight), 99)), 1))

        pictures = [png(i) for i in range(64)]
        def ask(i):
            began = time.perf_counter()
            status = client.post('reconstruct', content=pictures[i % 64]).status_code
            return status, 1e3*(time.perf_counter()-began)
        with ThreadPoolExecutor(8) as pool: answers = list(pool.map(ask, range(a.requests)))
        assert {s for s, _ in answers} == {200}
        say('/reconstruct, eight clients: p50 and p99, ms', [round(float(np.percentile([t for _, t in answers], q)), 1) for q in (50, 99)])

        rng, before = random.Random(0), memory(p)
        statuses = [nonsense(client, rng) for _ in range(a.nonsense)]
        say('nonsense: answers by status', {s: statuses.count(s) for s in sorted(set(statuses))})
        assert max(statuses) < 500
        say('nonsense: MB before and after', [round(before), round(memory(p))])

        end, held, frames, errors = time.monotonic()+60*a.minutes, [], [0], []
        def coming_and_going(i):
            rng = random.Random(i)
            while time.monotonic() < end:
                try:
                    took = play(address, min(rng.uniform(2, 60), max(1, end-time.monotonic())), fps=15, seed=rng.random(), world=rng.choice(['platformer', 'racing']))
                    frames[0] += len(took)
                    client.post('reconstruct', content=png(rng.randrange(1000))).raise_for_status()
                    time.sleep(rng.uniform(0, 5))
                except Exception as e: errors.append(f'{type(e).__name__}: {e}')
        threads = [threading.Thread(target=coming_and_going, args=(i,)) for i in range(6)]
        for t in threads: t.start()
        while time.monotonic() < end: held.append(memory(p)); time.sleep(min(10, 6*a.minutes))
        for t in threads: t.join()
        say('soak: minutes, frames, errors', [a.minutes, frames[0], errors[:3]])
        fifth = max(1, len(held)//5)
        say('soak: MB in its second and in its last fifth', [round(float(np.mean(held[fifth:2*fifth] or held)), 1), round(float(np.mean(held[-fifth:])), 1)])
        say('players left', client.get('health').json()['players'])
    say('exit code', p.returncode)
    if a.json: a.json.write_text(json.dumps(found, indent=1))
    sys.exit(bool(errors) or p.returncode != 0)

if __name__ == '__main__': main()
