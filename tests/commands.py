"`lwm` as a process, started in an instant."
import multiprocessing, os, re, resource, shlex, signal, sys

# Importing PyTorch takes seconds. So one process has done it, and each command is a fork of that one.
fork = multiprocessing.get_context('forkserver')
fork.set_forkserver_preload(['lightweight_world_model.scorecard', 'lightweight_world_model.world', 'lightweight_world_model.recording', 'lightweight_world_model.cli'])

def _command(args, cwd, largest):
    for fd, name in (1, 'stdout'), (2, 'stderr'): os.dup2(os.open(cwd/f'.{name}', os.O_WRONLY | os.O_CREAT | os.O_TRUNC), fd)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)              # a shell's background jobs ignore it
    if largest: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    from lightweight_world_model.cli import main
    import torch
    torch.set_num_threads(1)
    sys.argv = ['lwm', *args]
    main()

def start(line, cwd, largest=None):
    "Start `lwm` with this line in a folder; `largest`: no file may grow beyond so many bytes."
    p = fork.Process(target=_command, args=(shlex.split(line), cwd, largest))
    p.start()
    return p

def finish(p, cwd, code=0):
    "Wait for a command; what it wrote to stdout and stderr."
    p.join(120)
    out, err = ((cwd/f'.{name}').read_text() for name in ('stdout', 'stderr'))
    assert p.exitcode == code and 'Traceback' not in out+err, f'exit code {p.exitcode}\n{out}\n{err}'
    if code == 0: assert err == '' and not re.search('[\r\x1b]|Warning', out), 'noise'
    else: assert len(err.strip().splitlines()) == 1 and err.strip().startswith('lwm: '), err
    return out, err

def run(line, cwd, code=0, **how): return finish(start(line, cwd, **how), cwd, code)
