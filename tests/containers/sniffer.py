"""Says of everything that passes a network namespace whether it is TLS.

Runs on its own, as root in the namespace, with nothing but Python: reads packets of
all interfaces until its standard input ends, and prints one JSON object. A stream is
one direction of a TCP connection.
"""

import json
import os
import select
import socket
import struct
import sys
from collections.abc import Iterator

ETH_P_ALL = 3
ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD
SOL_PACKET = 263
PACKET_STATISTICS = 6
DOCKER_DNS = "127.0.0.11"  # answers names inside a container; on no wire
IPV6_HEADER_BYTES = 40
# Hop-by-hop options and ICMP: neighbours and routers are looked for with them.
IPV6_HOUSEKEEPING = (0, socket.IPPROTO_ICMPV6)
HEADER_BYTES = 5
# RFC 8446, section 5: content types, versions on the wire, and the longest record.
CONTENT_TYPES = (20, 21, 22, 23)
HANDSHAKE = 22
VERSIONS = (0x0301, 0x0303)
MAX_RECORD_BYTES = 2**14 + 256

Key = tuple[str, int, str, int]


class Stream:
    """One direction of a TCP connection, by what was seen of it."""

    def __init__(self) -> None:
        self._start: int | None = None
        self._segments: dict[int, bytes] = {}

    def add(self, sequence: int, *, is_first: bool, payload: bytes) -> None:
        """Take a segment.

        Args:
            sequence: Its number in the TCP header, in [0, 2**32).
            is_first: Whether it opens the connection.
            payload: What it carries.
        """
        if is_first:
            self._start = (sequence + 1) % 2**32
        elif payload:
            longest = max(payload, self._segments.get(sequence, b""), key=len)
            self._segments[sequence] = longest

    def verdict(self) -> dict[str, object]:
        """Return its bytes, its first ones as hex, and what is wrong with it."""
        if self._start is None:
            return {"bytes": 0, "head": "", "wrong": "the beginning was not seen"}
        content = self._joined(self._start)
        wrong = "" if content is None else _what_is_not_tls(content)
        if content is None:
            content, wrong = b"", "a part was not seen"
        return {"bytes": len(content), "head": content[:16].hex(), "wrong": wrong}

    def is_empty(self) -> bool:
        """Return whether it carried nothing."""
        return not self._segments

    def _joined(self, start: int) -> bytes | None:
        """Return the content in order, or None if something is missing."""
        content = bytearray()
        parts = {(n - start) % 2**32: part for n, part in self._segments.items()}
        for offset in sorted(parts):
            if offset > 2**31:
                continue  # a keep-alive repeats the byte before the next one
            if offset > len(content):
                return None
            content += parts[offset][len(content) - offset :]
        return bytes(content)


def _what_is_not_tls(content: bytes) -> str:
    """Return what keeps a stream from being a chain of TLS records; empty if nothing.

    The last record may be cut off: a killed process leaves one.
    """
    if content and content[0] != HANDSHAKE:
        return "it does not begin with a handshake"
    at = 0
    while at + HEADER_BYTES <= len(content):
        kind, version, length = struct.unpack_from("!BHH", content, at)
        is_record = kind in CONTENT_TYPES and version in VERSIONS
        if not is_record or length > MAX_RECORD_BYTES:
            return f"no TLS record at byte {at}"
        at += HEADER_BYTES + length
    return ""


class Capture:
    """Everything seen so far."""

    def __init__(self) -> None:
        self.streams: dict[Key, Stream] = {}
        self.others: set[str] = set()

    def add(self, protocol: int, packet: bytes) -> None:
        """Take one packet, without its link header."""
        if protocol == ETH_P_IPV6:
            self._add_ipv6(packet)
        elif protocol == ETH_P_IP:
            header = (packet[0] & 15) * 4
            source = socket.inet_ntoa(packet[12:16])
            target = socket.inet_ntoa(packet[16:20])
            if DOCKER_DNS in (source, target):
                return
            total = struct.unpack_from("!H", packet, 2)[0] or len(packet)
            if packet[9] == socket.IPPROTO_TCP:
                self._add_tcp(source, target, packet[header:total])
            # The kernel's own word about groups, when an interface comes up.
            elif packet[9] != socket.IPPROTO_IGMP:
                self.others.add(f"IP protocol {packet[9]} to {target}")

    def _add_ipv6(self, packet: bytes) -> None:
        source = socket.inet_ntop(socket.AF_INET6, packet[8:24])
        target = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        end = IPV6_HEADER_BYTES + int(struct.unpack_from("!H", packet, 4)[0])
        if packet[6] == socket.IPPROTO_TCP:
            self._add_tcp(source, target, packet[IPV6_HEADER_BYTES:end])
        elif packet[6] not in IPV6_HOUSEKEEPING:
            self.others.add(f"IPv6 protocol {packet[6]} to {target}")

    def _add_tcp(self, source: str, target: str, segment: bytes) -> None:
        ports = struct.unpack_from("!HH", segment)
        sequence = struct.unpack_from("!I", segment, 4)[0]
        payload = segment[(segment[12] >> 4) * 4 :]
        stream = self.streams.setdefault((source, ports[0], target, ports[1]), Stream())
        stream.add(sequence, is_first=bool(segment[13] & 2), payload=payload)

    def verdict(self, dropped: int) -> dict[str, object]:
        """Return all that a judge needs, ready for JSON."""
        return {
            "dropped": dropped,
            "others": sorted(self.others),
            "streams": [
                {"from": key[0], "port": key[1], "to": key[2], "to_port": key[3]}
                | stream.verdict()
                for key, stream in self.streams.items()
                if not stream.is_empty()
            ],
        }


def _packets(tap: socket.socket) -> Iterator[tuple[int, bytes]]:
    while True:
        ready, _, _ = select.select([tap, sys.stdin], [], [])
        if tap in ready:
            packet, address = tap.recvfrom(2**17)
            yield address[1], packet
        elif not os.read(sys.stdin.fileno(), 1):
            return


def main() -> None:
    """Read packets until told to stop, and print the verdict."""
    with socket.socket(
        socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)
    ) as tap:
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**26)
        capture = Capture()
        sys.stderr.write("ready\n")
        for protocol, packet in _packets(tap):
            capture.add(protocol, packet)
        statistics = tap.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        dropped = struct.unpack("II", statistics)[1]
    sys.stdout.write(json.dumps(capture.verdict(dropped)) + "\n")


if __name__ == "__main__":
    main()
