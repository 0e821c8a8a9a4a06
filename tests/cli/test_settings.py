"""What `triows run` works with: options over a file over defaults, or an error that says why."""

import argparse
import ssl
from pathlib import Path

import pytest
import trustme

from tests.cli.conftest import Write
from triows.cli._options import add_options
from triows.cli._settings import Settings, load_config, reason_of, settings_of
from triows.cli._statuses import CommandError
from triows.server import Drain


def settings(*options: str) -> Settings:
    """Return the settings that options of the command make."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    add_options(parser)
    return settings_of(parser.parse_args(["shop:app", *options]))


def refusal_of(*options: str) -> str:
    """Return what is said of options that are refused, which is one line."""
    with pytest.raises(CommandError) as refusal:
        settings(*options)
    assert 2 == refusal.value.status
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_defaults() -> None:
    """Without anything it is one process on the loopback, and a drain as `serve` has it."""
    found = settings()

    assert ["127.0.0.1:8000"] == found.config.bind
    assert (1, False, None) == (found.workers, found.reload, found.compression)
    assert (None, None) == (found.log_level, found.access_log)
    assert Drain() == found.drain


def test_file(write: Write) -> None:
    """Its names are hypercorn's; those that are ours to act on are taken from it."""
    write(
        "shop.toml",
        """
        bind = ["127.0.0.1:0", "[::1]:0"]
        workers = 2
        loglevel = "WARNING"
        graceful_timeout = 4
        backlog = 7
        """,
    )

    found = settings("--config", "shop.toml")

    assert ["127.0.0.1:0", "[::1]:0"] == found.config.bind
    assert (2, "warning", Drain(grace=4)) == (found.workers, found.log_level, found.drain)
    # Workers are ours: a config that says so makes hypercorn share the port with strangers.
    assert (7, 1) == (found.config.backlog, found.config.workers)


def test_options_go_over_the_file(write: Write) -> None:
    """What is said twice is as the command line has it."""
    write("shop.py", 'bind = "unix:a"\nworkers = 2\nloglevel = "ERROR"\ngraceful_timeout = 4\n')
    options = ["--bind", "unix:b", "-w", "3", "--log-level", "debug", "--drain-grace", "0"]

    found = settings("--config", "shop.py", *options, "--compression", "deflate")

    assert ["unix:b"] == found.config.bind
    assert (3, "debug", Drain(grace=0)) == (found.workers, found.log_level, found.drain)
    assert "deflate" == found.compression


def test_missing_file() -> None:
    """The file is named."""
    assert "cannot read shop.toml: no such file or directory" == refusal_of("-c", "shop.toml")
    assert "cannot read shop.py: no such file or directory" == refusal_of("-c", "shop.py")


def test_file_of_another_kind() -> None:
    """Which kinds there are is said."""
    assert "shop.ini is no configuration: write a .toml or a .py file" == refusal_of(
        "-c", "shop.ini"
    )


def test_malformed_files(write: Write) -> None:
    """What is wrong is said in one line, without a traceback."""
    write("shop.toml", "bind = \n")
    write("shop.py", "bind = adress\n")

    assert refusal_of("-c", "shop.toml").startswith("cannot read shop.toml: Invalid value (at line")
    assert "cannot read shop.py: NameError: name 'adress' is not defined" == refusal_of(
        "-c", "shop.py"
    )


@pytest.mark.parametrize("name", ["bin", "create_sockets", "from_toml", "ssl_enabled", "_bind"])
def test_unknown_names(write: Write, name: str) -> None:
    """A name that hypercorn would pass over in silence is named."""
    write("shop.toml", f'bind = "a:1"\nworker = 2\n{name} = 2\n')

    assert f"shop.toml has what is no setting: {', '.join(sorted([name, 'worker']))}" == refusal_of(
        "-c", "shop.toml"
    )


def test_known_names(write: Write) -> None:
    """Plain attributes of a configuration are settings, and properties that can be set."""
    write("shop.toml", 'root_path = "/shop/"\nkeep_alive_timeout = 9\ninsecure_bind = []\n')

    config = load_config("shop.toml")

    assert ("/shop", 9, []) == (config.root_path, config.keep_alive_timeout, config.insecure_bind)


@pytest.mark.parametrize(
    "bind", ["127.0.0.1:0", "[::1]:8000", "localhost:65535", "unix:a b:c", "fd://3"]
)
def test_addresses(bind: str) -> None:
    """A host and a port, a path, or the number of a file descriptor."""
    assert [bind] == settings("--bind", bind).config.bind


@pytest.mark.parametrize(
    "bind",
    ["", "8000", ":8000", "localhost", "::1:8000", "a:65536", "a:b", "unix:", "fd://x", "a b:1"],
)
def test_what_is_no_address(bind: str) -> None:
    """It is refused by its text, and how addresses are written is said."""
    if not bind:
        with pytest.raises(CommandError, match="no address"):
            settings("--bind", bind)
        return
    assert (
        f"{bind!r} is no address to listen on: write HOST:PORT, unix:PATH or fd://N"
        == refusal_of("--bind", bind)
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("shutdown_timeout = '60'", "shutdown_timeout must be seconds, not '60'"),
        ("shutdown_timeout = -1", "shutdown_timeout must be seconds, not -1"),
        ("bind = 8000", "bind must be a list of addresses, not 8000"),
        ("bind = [8000]", "8000 is no address to listen on: write HOST:PORT, unix:PATH or fd://N"),
        ('quic_bind = "a:1"', "quic_bind is for HTTP/3, which triows does not serve"),
        ("workers = 0", "workers must be a number from 1, not 0"),
        ('workers = "2"', "workers must be a number from 1, not '2'"),
        (
            'loglevel = "loud"',
            "loglevel must be one of debug, info, warning, error, critical, not 'loud'",
        ),
        ("graceful_timeout = -1", "the drain's grace must be seconds, not -1"),
    ],
)
def test_what_is_no_value(write: Write, line: str, said: str) -> None:
    """A value of the file that the server would stumble on later is refused now."""
    write("shop.toml", f"{line}\n")

    assert said == refusal_of("-c", "shop.toml")


def test_grace_that_is_none() -> None:
    """A number that is no time is refused, and so is no number at all."""
    assert "the drain's grace must be seconds, not nan" == refusal_of("--drain-grace", "nan")


def test_reload_is_for_one_process() -> None:
    """What the two would do together is nothing anyone has asked for."""
    assert "--reload restarts a single worker: leave out --workers" == refusal_of(
        "--reload", "-w", "2"
    )
    assert settings("--reload", "-w", "1").reload


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """Return the files of a certificate and its key."""
    issued = trustme.CA().issue_cert("localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    return str(cert), str(key)


def test_certificate(certificate: tuple[str, str]) -> None:
    """With both files the connections are secure."""
    config = settings("--certfile", certificate[0], "--keyfile", certificate[1]).config

    assert config.ssl_enabled
    assert isinstance(config.create_ssl_context(), ssl.SSLContext)


def test_half_a_certificate(certificate: tuple[str, str]) -> None:
    """One file without the other would serve without TLS, which is not what was meant."""
    said = "a certificate and its key belong together: --{} is missing"

    assert said.format("keyfile") == refusal_of("--certfile", certificate[0])
    assert said.format("certfile") == refusal_of("--keyfile", certificate[1])


def test_certificate_that_does_not_exist(certificate: tuple[str, str]) -> None:
    """It is said before anything listens."""
    said = refusal_of("--certfile", "no.pem", "--keyfile", certificate[1])

    assert f"cannot read no.pem or {certificate[1]}: no such file or directory" == said


def test_malformed_certificate(certificate: tuple[str, str]) -> None:
    """A key is no certificate."""
    said = refusal_of("--certfile", certificate[1], "--keyfile", certificate[1])

    assert said.startswith(f"cannot use {certificate[1]} and {certificate[1]} for TLS: ")


def test_reason() -> None:
    """What the system says comes behind a colon; what has no words of the system's, as it is."""
    assert "permission denied" == reason_of(PermissionError(13, "Permission denied"))
    assert "odd" == reason_of(OSError("Odd"))
