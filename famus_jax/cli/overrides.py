"""`--config=FILE[:VARIANT]` and `--config.a.b=VALUE`: a config file, and single values of it changed.

The values are typed as in the config file by ml_collections, which reads them as absl flags. They are
given to it in a set of flags of their own; nothing else here is an absl flag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from famus_jax.one_of import nearest

# Sections that take any name: what there is depends on another value, which checks it.
_OPEN = ("model.overrides",)
_OVERRIDE = re.compile(r"--?(no)?config\.")
_STEP = re.compile(r"([^\[\]]*)((?:\[[^\[\]]*\])*)")  # a field, and places in the list that it is


class UsageError(Exception):
    """A command line that can't be understood: exit status 2."""


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of a command line that aren't overrides of a config, and those that are.

    >>> split_overrides(["--config=a.py", "--config.seeds=(0,)", "--config.data.noise", "none"])
    (['--config=a.py'], ['--config.seeds=(0,)', '--config.data.noise=none'])
    """
    others: list[str] = []
    overrides: list[str] = []
    waiting = False  # the last word was an override whose value may come next
    for word in words:
        if _OVERRIDE.match(word):
            overrides.append(word)
            waiting = "=" not in word
        elif waiting and not word.startswith("--"):
            overrides[-1] += f"={word}"
            waiting = False
        else:
            others.append(word)
            waiting = False
    return others, overrides


def load_config(file: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The nested dict that a config file gives, with some of its values changed.

    Args:
      file: its path; what follows a colon is the argument of its `get_config`.
      overrides: as `split_overrides` gives them.

    Raises:
      UsageError: if there is no such file, variant or field, or a value is not of the field's type.
    """
    from absl import flags
    from ml_collections import config_flags

    def read(words: Sequence[str]) -> Any:
        values, argv = flags.FlagValues(), ["famus", f"--config={file}", *words]
        config = config_flags.DEFINE_config_file(
            "config",
            None,
            "A config file.",
            lock_config=False,
            flag_values=values,
            sys_argv=argv,
            accept_new_attributes=True,  # `_refuse_unknown` has looked at them
        )
        values(argv)
        return config.value

    try:
        config = read(()).to_dict()
    except AttributeError as error:
        cause = error.__context__  # a KeyError, whose own text is quoted twice by now
        if not isinstance(cause, KeyError):
            raise UsageError(
                f"{file} is no config file, which has a function get_config() that returns a "
                f"ConfigDict ({error})"
            ) from error
        raise UsageError(f"{file} has no {' '.join(str(cause.args[0]).split())}") from error
    except (flags.Error, OSError, TypeError) as error:
        raise UsageError(_last_line(error)) from error
    except (Exception, SystemExit) as error:  # a config file is a program: it may fail in any way
        raise UsageError(f"{file} failed with {type(error).__name__}: {error}") from error
    if not overrides:
        return config
    _refuse_unknown(config, file, overrides)
    try:
        return read(overrides).to_dict()
    except (flags.Error, OSError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise UsageError(_last_line(error)) from error


def _last_line(error: BaseException) -> str:
    """What a config file itself refuses comes with a traceback, which says no more."""
    _, marked, last = str(error).strip().rpartition("\nValueError: ")
    return f"ValueError: {last}" if marked else str(error)


def _refuse_unknown(config: dict[str, Any], file: str, overrides: Sequence[str]) -> None:
    """Raises `UsageError` for a field that the config does not have, with those that it has."""
    for word in overrides:
        path = _OVERRIDE.sub("", word, count=1).partition("=")[0]
        above, level, steps = "", config, path.split(".")
        for depth, step in enumerate(steps, 1):
            match = _STEP.fullmatch(step)
            if match is None:
                raise UsageError(
                    f"{word}: {step!r} is neither a field nor a part of a list, name[0]"
                )
            if above in _OPEN and depth == len(steps) and not match[2]:
                break
            level = _field(level, match[1], above, path, word, file)
            above = f"{above}.{match[1]}".lstrip(".")
            for place in re.findall(r"\[(.*?)\]", match[2]):
                level = _part(level, place, above, word)
                above += f"[{place}]"


def _field(level: Any, name: str, above: str, path: str, word: str, file: str) -> Any:
    """What a section holds under a name."""
    if isinstance(level, list | tuple):
        raise UsageError(f"{word}: a part of {above} is written {above}[{name}]")
    if not isinstance(level, dict):
        raise UsageError(f"{word}: {above} in {file} is one value, {level!r}")
    if name not in level:
        where = f"{file} has no {path!r}: {above or 'the config'} has"
        raise UsageError(f"{where} no {name!r}{nearest(name, level)} Known: {', '.join(level)}")
    return level[name]


def _part(level: Any, place: str, above: str, word: str) -> Any:
    """What a list holds at a place."""
    if not isinstance(level, list | tuple):
        kind = "a section" if isinstance(level, dict) else f"one value, {level!r}"
        raise UsageError(f"{word}: {above} is no list but {kind}")
    if not (place.isascii() and place.isdecimal()) or int(place) >= len(level):
        count = f"{len(level)} parts, {above}[0] … {above}[{len(level) - 1}]"
        raise UsageError(f"{word}: {above} has {count if level else 'no parts'}; none is [{place}]")
    return level[int(place)]
