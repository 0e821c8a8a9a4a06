"""What `triows connect` can be asked for."""

import argparse
import ssl
from pathlib import Path

import pytest
import trustme

from triows.cli._address import Offer, parse_url
from triows.cli._connect_options import Options, add_options, make_tls, options_of


def parse(*arguments: str) -> argparse.Namespace:
    """Parse a command line, to a URL of which nothing depends."""
    parser = argparse.ArgumentParser("connect")
    add_options(parser)
    return parser.parse_args([*arguments, "ws://a"])


def test_defaults() -> None:
    """With a URL alone, the times and the size are bounded, and the terminal decides the rest."""
    arguments = parse()

    expected = Options(parse_url("ws://a"), Offer([], []), None, 10, 16 * 1024 * 1024, 1, None)
    assert expected == options_of(arguments, None)
    assert arguments.pretty is None
    assert (None, False) == (arguments.cafile, arguments.insecure)


def test_all_options() -> None:
    """Each option is where it belongs; headers and subprotocols keep their order."""
    arguments = parse(
        *["-H", "A: 1", "--origin", "https://b", "--header", "A: 2", "-s", "v2"],
        *["--subprotocol", "v1", "--timeout", "0.5", "--max-size", "9", "--wait", "inf"],
        *["--ping", "20"],
    )
    tls = make_tls(None, insecure=False)

    headers = [(b"a", b"1"), (b"origin", b"https://b"), (b"a", b"2")]
    expected = Options(
        parse_url("ws://a"), Offer(headers, ["v2", "v1"]), tls, 0.5, 9, float("inf"), 20
    )
    assert expected == options_of(arguments, tls)


def test_two_command_lines_share_nothing() -> None:
    """The headers of one are not those of the next."""
    parse("-H", "A: 1", "-s", "v1")

    assert Offer([], []) == options_of(parse(), None).offer


@pytest.mark.parametrize(("option", "pretty"), [("--json", True), ("--raw", False)])
def test_layout(option: str, pretty: bool) -> None:
    """The user can decide what the terminal would."""
    assert pretty is parse(option).pretty


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["-H", "x"], "argument -H/--header: 'x' is no header: write 'Name: value'"),
        (["--origin", "a\nb"], "argument --origin: the value of header 'Origin' has a control"),
        (["-s", "a b"], "argument -s/--subprotocol: subprotocol 'a b' is not a token"),
        (["--wait", "-1"], "argument --wait: -1 is no number of seconds"),
        (["--wait", "nan"], "argument --wait: nan is no number of seconds"),
        (["--wait", "x"], "argument --wait: could not convert string to float: 'x'"),
        (["--timeout", "0"], "argument --timeout: it has to be more than 0"),
        (["--ping", "0"], "argument --ping: it has to be more than 0"),
        (["--max-size", "0"], "argument --max-size: it has to be at least 1"),
        (["--max-size", "1.5"], "argument --max-size: invalid literal for int() with base 10"),
        (["--json", "--raw"], "argument --raw: not allowed with argument --json"),
        (["--insecure", "--cafile", "x"], "argument --cafile: not allowed with argument"),
        (["http://b"], "argument URL: 'http://b' is no WebSocket URL"),
    ],
)
def test_misuse(arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong is said, and the status is argparse's."""
    with pytest.raises(SystemExit) as leaving:
        parse(*arguments)

    assert 2 == leaving.value.code
    assert fault in capsys.readouterr().err


def test_trust() -> None:
    """By default a server is checked."""
    tls = make_tls(None, insecure=False)

    assert (True, ssl.CERT_REQUIRED) == (tls.check_hostname, tls.verify_mode)


def test_no_trust_needed() -> None:
    """Any server will do if the user says so."""
    tls = make_tls(None, insecure=True)

    assert (False, ssl.CERT_NONE) == (tls.check_hostname, tls.verify_mode)


def test_trust_of_a_file(tmp_path: Path) -> None:
    """Only what is in the file is trusted."""
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))

    tls = make_tls(str(path), insecure=False)

    assert 1 == len(tls.get_ca_certs())


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_file_without_certificates(content: str | None, tmp_path: Path) -> None:
    """A file that cannot be read, or has none in it, is an error before anything is sent."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)

    with pytest.raises(OSError, match=r"."):
        make_tls(str(path), insecure=False)
