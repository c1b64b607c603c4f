"""Rank 0 sends a stream to rank 1 for some seconds; rank 1 prints the bytes and its Mbit/s."""

import os
import socket
import sys
import time

PORT = 29600
CHUNK = bytes(1 << 18)


def send(seconds: float) -> None:
    address = (os.environ["MASTER_ADDR"], PORT)
    with socket.create_server(address) as server:
        connection, _ = server.accept()
        with connection:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                connection.sendall(CHUNK)


def receive() -> None:
    address = (os.environ["MASTER_ADDR"], PORT)
    deadline = time.monotonic() + 100
    while True:
        try:
            connection = socket.create_connection(address)
            break
        except ConnectionRefusedError:  # rank 0 is not ready
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    received = 0
    with connection:
        start = time.monotonic()
        while chunk := connection.recv(1 << 18):
            received += len(chunk)
        mbit = received * 8e-6 / (time.monotonic() - start)
    print(received, mbit, flush=True)


if __name__ == "__main__":
    if os.environ["RANK"] == "0":
        send(float(sys.argv[1]))
    else:
        receive()
