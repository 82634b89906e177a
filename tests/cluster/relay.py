# SPDX-License-Identifier: Apache-2.0
"""One end of a slow wire between two hosts, for kernels whose traffic shaper
cannot delay: packets of a tun device go to the other end by a socket, each
not before its delay, and not faster than the rate.

usage: relay.py DEVICE SOCKET_FD DELAY_SECONDS BYTES_PER_SECOND
Runs in the namespace of the device until the other end closes; prints a line
when it listens.
"""
import fcntl
import os
import queue
import socket
import struct
import sys
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 65535


def open_tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF,
                struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def read_packets(tun, waiting, delay):
    while True:
        packet = os.read(tun, MTU)
        waiting.put((time.monotonic() + delay, packet))


def send_packets(wire, waiting, rate):
    free = 0.0
    while True:
        due, packet = waiting.get()
        free = max(free, time.monotonic()) + len(packet) / rate
        pause = max(due, free) - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        wire.send(packet)


def main():
    name, fd, delay, rate = sys.argv[1:]
    tun = open_tun(name)
    wire = socket.socket(fileno=int(fd))
    waiting = queue.Queue()
    for target, args in ((read_packets, (tun, waiting, float(delay))),
                         (send_packets, (wire, waiting, float(rate)))):
        threading.Thread(target=target, args=args, daemon=True).start()
    print("ready", flush=True)
    while True:
        try:
            packet = wire.recv(MTU)
        except ConnectionResetError:
            packet = b""
        if not packet:
            return
        try:
            os.write(tun, packet)
        except OSError:
            pass  # the device is not up yet: a lost packet, as on any wire


if __name__ == "__main__":
    main()
