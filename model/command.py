# SPDX-License-Identifier: Apache-2.0
"""How a command written in Python ends when it cannot go on: one sentence.

Importing it is enough, before what may be missing.  Exit status 2 for files and
flags that cannot be used, 1 for a module or memory that is short, 130 after
Ctrl-C.  What is none of these is a fault of the command and has its trace."""
import os
import sys


class Refused(Exception):
    """One sentence for the user."""


def sentence(error):
    """What is said of an error and the exit status; None: it is a fault."""
    if isinstance(error, KeyboardInterrupt):
        return "", 130
    if isinstance(error, Refused):
        return str(error), 2
    if isinstance(error, ModuleNotFoundError):
        return f"needs the module {error.name}, which is not installed", 1
    if isinstance(error, MemoryError):
        return "not enough memory", 1
    if isinstance(error, FileExistsError):
        return f"{error.filename} is there already, and is no directory", 2
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}", 2
    if isinstance(error, OSError):
        return error.strerror or str(error), 1
    return None


def end(kind, error, trace):
    said = sentence(error)
    if said is None:
        sys.__excepthook__(kind, error, trace)
        return
    text, code = said
    if text:
        print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr)
    raise SystemExit(code)


sys.excepthook = end


def count(text):
    """A flag's whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value
