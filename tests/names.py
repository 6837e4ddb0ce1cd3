"""A name server for tests/images.sh, in the place of Docker's: names.py ADDRESS NAME=ADDRESS...

Answers A questions about these names, with several addresses where a name stands several times, and
says of every other name that it does not exist. UDP on port 53; runs until it is killed.
"""

import ipaddress
import socket
import struct
import sys

A, INTERNET = 1, 1
NO_SUCH_NAME = 3
# As Docker's.
TIME_TO_LIVE_SECONDS = 600


def answer(query, names):
    """The answer to one question (RFC 1035 section 4)."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    kind, _ = struct.unpack_from("!HH", query, at + 1)
    addresses = names.get(".".join(labels).lower())
    found = addresses if addresses and kind == A else []
    flags = 0x8180 | (0 if addresses else NO_SUCH_NAME)
    head = query[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0)
    # 0xC00C points back to the name in the question.
    record = struct.pack("!HHHIH", 0xC00C, A, INTERNET, TIME_TO_LIVE_SECONDS, 4)
    return head + query[12 : at + 5] + b"".join(record + address.packed for address in found)


def main():
    names = {}
    for entry in sys.argv[2:]:
        name, _, address = entry.partition("=")
        names.setdefault(name, []).append(ipaddress.IPv4Address(address))
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[1], 53))
    while True:
        query, client = server.recvfrom(512)
        server.sendto(answer(query, names), client)


if __name__ == "__main__":
    main()
