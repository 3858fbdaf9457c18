"""The grammar of the command line and its help, both made of the table of verbs and the config."""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline.config.keys import settings
from pipeline.config.sections import Config
from pipeline.config.types import MEANT, VERSION
from pipeline.config.write import scalar
from pipeline.errors import ConfigError, closest, nearest
from pipeline.verbs import DEFAULT_CONFIG, OPTIONS, VERBS, Options, sections

PROGRAM = "python -m pipeline"
TRUTH = {"true": True, "false": False}
YAML_FILES = (".yaml", ".yml")
SETTINGS = dict(settings())


def read_verb(words: Sequence[str]) -> str:
    """The verb, which comes first. Raises ConfigError for another word, or none."""
    if not words:
        raise ConfigError(
            f"a verb is missing; choose from {', '.join(VERBS)}; "
            "`python -m pipeline --help` says what each does"
        )
    if words[0] not in VERBS:
        hint = nearest(words[0], VERBS) or f"; choose from {', '.join(VERBS)}"
        raise ConfigError(f"{words[0]!r} is not a verb{hint}")
    return words[0]


def read(verb: str, words: Sequence[str]) -> tuple[str, dict[str, str], Options]:
    """The path of the config, settings by key in YAML, and options. Raises ConfigError."""
    plain, texts = _split(verb, list(words))
    settings = {name: text for name, text in texts.items() if name not in OPTIONS}
    options = {name: text for name, text in texts.items() if name in OPTIONS}
    if not VERBS[verb].reads_config:
        plain, options = [], {**({"data": plain[0]} if plain else {}), **options}
    config, runs = _arguments(verb, plain)
    values = {name: _value(name, text) for name, text in options.items()}
    given = given_words(config, settings)
    return config, settings, check_options(verb, {**values, "runs": runs, "given": given})


def given_words(config: str, settings: Mapping[str, str]) -> tuple[str, ...]:
    """The config and the settings, but those of the server, as words of another command."""
    words = [f"--{key}={text}" for key, text in settings.items() if not key.startswith("serve.")]
    return (*([config] if config != DEFAULT_CONFIG else []), *words)


def _split(verb: str, words: list[str]) -> tuple[list[str], dict[str, str]]:
    """The words that are no option, and the text of each option or setting by its full name."""
    plain: list[str] = []
    texts: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            written, equals, text = word.removeprefix("--").partition("=")
            name = _full_name(verb, written)
            texts[name] = text if equals else _next(written, name, words)
        elif word.startswith("-"):
            raise ConfigError(f"{word!r} is not an option; write --section.key VALUE")
        else:
            plain.append(word)
    return plain, texts


def _full_name(verb: str, written: str) -> str:
    """`dry_run` of `dry-run`, `audit.folds` of `folds`; the config knows what keys there are."""
    option = written.replace("-", "_")
    if option in OPTIONS:
        return option
    name = VERBS[verb].aliases.get(written, written)
    if "." not in name:
        raise ConfigError(f"--{written} is not an option of {verb}{_hint(verb, written)}")
    return name


def _hint(verb: str, written: str) -> str:
    """The option or setting that may have been meant, in full, those of the verb first."""
    of_verb = [key for key in SETTINGS if key.split(".")[0] in sections(verb)]
    names = {key: key for key in SETTINGS}
    names |= {key.rpartition(".")[2]: key for key in (*SETTINGS, *of_verb)}
    names |= {name: name for name in (*VERBS[verb].aliases, *map(_dashed, VERBS[verb].options))}
    close = closest(written, names)
    if close is None:
        return f"; `{PROGRAM} {verb} --help` lists them"
    return f", did you mean '--{names[close]}'?"


def _next(written: str, name: str, words: list[str]) -> str:
    """The option's value, which stands behind it; a flag may stand alone."""
    if words and not words[0].startswith("--"):
        return words.pop(0)
    if _is_flag(name):
        return "true"
    raise ConfigError(f"--{written} has no value; write --{written} VALUE")


def _is_flag(name: str) -> bool:
    if name in OPTIONS:
        return OPTIONS[name].type is bool
    return name in SETTINGS and SETTINGS[name].annotation is bool


def _arguments(verb: str, plain: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The path of the config and, for a verb that takes runs, their ids."""
    if VERBS[verb].arguments:
        configs = [word for word in plain if word.endswith(YAML_FILES)]
        runs = tuple(word for word in plain if word not in configs)
    else:
        configs, runs = list(plain), ()
    if len(configs) > 1:
        raise ConfigError(f"{configs[1]!r} is not an option; write --section.key VALUE")
    return (configs or [DEFAULT_CONFIG])[0], runs


def check_options(verb: str, values: Mapping[str, Any]) -> Options:
    """The options by their names. Raises ConfigError for one that the verb does not take."""
    for name, value in values.items():
        verbs = [one for one in VERBS if name in VERBS[one].options]
        if name not in (*OPTIONS, "runs", "given"):
            raise ConfigError(f"--{name} is not an option of {verb}{_hint(verb, name)}")
        if name in OPTIONS and value != OPTIONS[name].default and verb not in verbs:
            option = f"--{_dashed(name)}"
            raise ConfigError(f"{option} is an option of {', '.join(verbs)}, not of {verb}")
    options = Options(**values)
    if len(options.runs) != len(VERBS[verb].arguments):
        raise ConfigError(
            f"{verb} takes two runs: {verb} RUN RUN; a config comes before them. "
            "A run's id is in the address that its command has printed"
        )
    row = VERBS[verb]
    is_instead = bool(row.instead) and getattr(options, row.instead)
    if not is_instead and not all(getattr(options, name) for name in row.required):
        needed = [f"--{name} {OPTIONS[name].metadata['value']}" for name in row.required]
        instead = f", or --{row.instead}" if row.instead else ""
        raise ConfigError(
            f"{verb} needs {' and '.join(needed)}{instead}; `{PROGRAM} {verb} --help`"
        )
    return options


def _value(name: str, text: str) -> bool | str:
    option = f"--{_dashed(name)} is {text!r}"
    if _is_flag(name):
        if text.lower() not in TRUTH:
            raise ConfigError(f"{option}; it should be true or false")
        return TRUTH[text.lower()]
    if name == "version" and not re.fullmatch(VERSION, text):
        raise ConfigError(f"{option}; it should be {MEANT[VERSION]}")
    if name == "run" and not text:
        raise ConfigError(f"{option}; it should be the id of a run")
    return text


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def help_page(verb: str | None = None) -> str:
    """What a verb does, its own options and the settings of its sections; or all verbs."""
    return (_overview() if verb is None else _verb_parser(verb)).format_help().rstrip()


def _overview() -> argparse.ArgumentParser:
    lines = [f"  {verb:10}{row.meaning}" for verb, row in VERBS.items()]
    return _formatter(
        "VERB [CONFIG] [--section.key VALUE ...]",
        "\n".join(["From a table of data to a REST endpoint on MLflow.", "", *lines]),
        f"`{PROGRAM} VERB --help` tells what a verb takes. CONFIG is a YAML file; without one\n"
        f"it is {DEFAULT_CONFIG}. Under MLflow: mlflow run . -e VERB -P section.key=VALUE",
    )


def _verb_parser(verb: str) -> argparse.ArgumentParser:
    row = VERBS[verb]
    runs = "".join(f" {name.upper()}" for name in row.arguments)
    before = ", ".join(row.needs) if row.is_step else ""
    more = f"Settings of what it needs ({before}) count too: {PROGRAM} {before} --help"
    usage = f"{verb} [CONFIG]{runs} [--section.key VALUE ...]"
    if not row.reads_config:
        usage = f"{verb} SOURCE --target COLUMN"
    parser = _formatter(usage, row.meaning, more if before else "")
    if row.reads_config:
        config = f"a YAML file (default: {DEFAULT_CONFIG})"
        parser.add_argument("config", nargs="?", metavar="CONFIG", help=config)
    for name in row.arguments:
        parser.add_argument(name, metavar=name.upper(), help="the id of a run")
    for name in row.options:
        meaning, value = OPTIONS[name].metadata["meaning"], OPTIONS[name].metadata["value"]
        parser.add_argument(
            f"--{_dashed(name)}", nargs="?" if _is_flag(name) else None, metavar=value, help=meaning
        )
    for section in sections(verb):
        described = parser.add_argument_group(
            section, Config.model_fields[section].annotation.__doc__
        )
        for key, field in _settings_of(section):
            aliases = [f"--{alias}" for alias, full in row.aliases.items() if full == key]
            described.add_argument(
                *(f"--{key}", *aliases),
                nargs="?" if _is_flag(key) else None,
                metavar="VALUE",
                help=f"{field.description} (default: {_default(field)})".replace("%", "%%"),
            )
    return parser


def _formatter(usage: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """It reads nothing: argparse cannot tell which option that it does not know has a value."""
    return argparse.ArgumentParser(
        usage=f"{PROGRAM} {usage}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )


def _settings_of(section: str) -> Iterator[tuple[str, FieldInfo]]:
    return ((key, field) for key, field in SETTINGS.items() if key.split(".")[0] == section)


def _default(field: FieldInfo) -> str:
    """As YAML."""
    default = field.get_default(call_default_factory=True, validated_data={})
    match default:
        case _ if default is PydanticUndefined:
            return "set in the config"
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[default]
        case tuple():
            return scalar(default)
        case _:
            return str(default)
