"""Single kinds of value: what they accept, what they answer, and that `show` is their inverse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsd.config_file import Report as _Report
from wsd.config_file import Scalar, parse
from wsd.config_values import (
    MAX_SOCKET_PATH,
    Count,
    Duration,
    Path,
    Refused,
    Size,
    Text,
    network,
    origin,
    port,
    proxy,
)

DAY = 86400.0
TIME = Duration(0, 100 * 365 * DAY)
SIZE = Size(0, 1 << 60)


def read(kind, text, quoted=False):
    return kind.read(Scalar("f", 1, text, quoted))


def reread(kind, value):
    """What the YAML of a value is read as."""
    return kind.parse(parse("f", kind.show(value), _Report()), "key", _Report())


class TestDuration:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("25s", 25.0),
            ("10m", 600.0),
            ("24h", DAY),
            ("30d", 30 * DAY),
            ("500ms", 0.5),
            ("100ms", 0.1),
            ("1.5s", 1.5),
            ("0.25h", 900.0),
            ("0", 0.0),
            ("0s", 0.0),
        ],
    )
    def test_accepted(self, text, seconds):
        assert read(TIME, text) == seconds
        assert type(read(TIME, text)) is float

    @pytest.mark.parametrize(
        "text",
        ["25", "25 s", "25sec", "-1s", "1h30m", "s", "", "1e3s", "١s", "nan", "inf", "0.5", "1,5s"],
    )
    def test_refused(self, text):
        with pytest.raises(Refused, match="is not a time like 500ms, 25s, 10m"):
            read(TIME, text)

    def test_hint(self):
        with pytest.raises(Refused, match=r"^25 is not .* \(did you mean 25s\?\)$"):
            read(TIME, "25")

    def test_bounds(self):
        kind = Duration(1, 60)
        assert (read(kind, "1s"), read(kind, "60s")) == (1.0, 60.0)
        for text in ("999ms", "61s", "0", "999999999999d"):
            with pytest.raises(Refused, match=f"^{text} is out of bounds: 1s to 1m$"):
                read(kind, text)

    def test_zero_with_a_meaning(self):
        assert read(Duration(1, 60, "never"), "0") == 0.0
        assert Duration(1, 60, "never").bounds == "1s to 1m (0 = never)"

    @given(st.integers(0, 100_000_000), st.sampled_from(["ms", "s", "m", "h", "d"]))
    def test_show_is_the_inverse(self, number, unit):
        wide = Duration(0, 1e15)
        value = read(wide, f"{number}{unit}")
        assert reread(wide, value) == value

    @given(st.floats(0, 100 * 365 * DAY))
    def test_show_is_the_inverse_of_fractions(self, seconds):
        value = read(TIME, f"{seconds:.6f}s")
        assert reread(TIME, value) == value


class TestSize:
    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("64KiB", 65536),
            ("1MiB", 1 << 20),
            ("512B", 512),
            ("512", 512),
            ("2GiB", 1 << 31),
            ("0", 0),
        ],
    )
    def test_accepted(self, text, size):
        assert read(SIZE, text) == size

    @pytest.mark.parametrize(
        "text", ["", "64kB", "1.5MiB", "-1", "B", "0x10", "1e3", "1_000", "010"]
    )
    def test_refused(self, text):
        with pytest.raises(Refused, match="is not a size like 512B, 64KiB or 1MiB"):
            read(SIZE, text)

    @pytest.mark.parametrize("text", ["64KB", "64kb", "64k", "64Ki", "64 K"])
    def test_hint(self, text):
        with pytest.raises(Refused, match=r"\(did you mean 64KiB\?\)$"):
            read(SIZE, text)

    @given(st.integers(0, 1 << 59))
    def test_show_is_the_inverse(self, size):
        assert reread(SIZE, size) == size

    @given(st.integers(1, 1 << 20), st.sampled_from(["B", "KiB", "MiB", "GiB"]))
    def test_show_keeps_the_value(self, number, unit):
        size = read(SIZE, f"{number}{unit}")
        assert reread(SIZE, size) == size

    def test_show_takes_the_largest_whole_unit(self):
        assert [SIZE.show(n) for n in (1000, 1024, 1536, 1 << 20, 1 << 30)] == [
            "1000B",
            "1KiB",
            "1536B",
            "1MiB",
            "1GiB",
        ]


@given(st.integers(-(10**20), 10**20))
def test_counts(number):
    kind = Count(1, 1000, "things")
    if 1 <= number <= 1000:
        assert reread(kind, number) == number
    else:
        with pytest.raises(Refused):
            read(kind, str(number))


@given(st.text(min_size=1, max_size=100))
def test_texts(text):
    kind = Text(100)
    if text.isprintable():
        assert reread(kind, text) == text
    else:
        with pytest.raises(Refused):
            read(kind, text, quoted=True)


ORIGINS = {
    "*": "*",
    "https://example.com": "https://example.com",
    "HTTPS://Example.COM": "https://example.com",
    "https://example.com:443": "https://example.com",
    "http://example.com:80": "http://example.com",
    "http://example.com:443": "http://example.com:443",
    "https://*.example.com": "https://*.example.com",
    "https://*.example.com:8443": "https://*.example.com:8443",
    "http://127.0.0.1:8000": "http://127.0.0.1:8000",
    "http://[::1]:8000": "http://[::1]:8000",
    "http://[0:0::1]": "http://[::1]",
    "http://localhost": "http://localhost",
    "chrome-extension://abcdef": "chrome-extension://abcdef",
    "https://xn--bcher-kva.example": "https://xn--bcher-kva.example",
}


@pytest.mark.parametrize("text", ORIGINS)
def test_origins(text):
    assert origin(text) == ORIGINS[text]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not an origin"),
        ("null", "is not an origin"),
        ("example.com", r"did you mean https://example.com\?"),
        ("https://example.com/", r"did you mean https://example.com\?"),
        ("https://example.com/chat", r"did you mean https://example.com\?"),
        ("https://", "is not an origin"),
        ("https://*", "is not a host"),
        ("https://a.*.com", "is not a host"),
        ("https://*example.com", "is not a host"),
        ("https://user@example.com", "is not an origin"),
        ("https://exa mple.com", "is not a host"),
        ("https://example.com:0x1", "is not an origin"),
        ("https://example.com:99999", "is not a port"),
        ("https://example..com", "is not a host"),
        ("https://bücher.example", "as browsers send it"),
        ("https://[::1", "is not an origin"),
        ("https://[zz::1]", "is not an IP address"),
        ("https://300.1.1.1", "is not an IP address"),
        ("https://a\nb", "is not a host"),
    ],
)
def test_bad_origins(text, message):
    with pytest.raises(Refused, match=message):
        origin(text)


def test_a_runtime_directory_leaves_room_for_its_sockets():
    kind = Path(socket="admin.sock")
    fits = "/" + "x" * (MAX_SOCKET_PATH - 1 - len("/admin.sock"))
    assert read(kind, fits) == fits
    with pytest.raises(Refused, match="108 bytes"):
        read(kind, fits + "x")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1/32"),
        ("::1", "::1/128"),
        ("0::/0", "::/0"),
    ],
)
def test_networks(text, shown):
    assert network(text) == shown


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.0/33", "10.0.0", "10.0.0.1/8", "::1/0"])
def test_bad_networks(text):
    with pytest.raises(Refused):
        network(text)


def test_proxies():
    assert [proxy(text) for text in ("10.0.0.0/8", "::1", "unix")] == [
        "10.0.0.0/8", "::1/128", "unix",
    ]  # fmt: skip
    for text in ("Unix", "unix:/run/x", ""):
        with pytest.raises(Refused, match="is not a network"):
            proxy(text)


def test_ports():
    assert [port(text) for text in ("0", "80", "65535")] == [0, 80, 65535]
    for text in ("", "-1", "65536", "٣", "1.0"):
        with pytest.raises(Refused):
            port(text)
