"""A relay that adds half of a round trip to each direction of TCP connections. Arguments: MILLISECONDS PORT:PORT..."""

import asyncio
import sys

# A piece of a stream: what SSH sends in one packet fits.
PIECE = 65536


async def pump(reader, writer, delay):
    """Passes a stream on, each piece after the delay, in order and without waiting for the one before."""
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue()

    async def send():
        while True:
            due, piece = await queue.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not piece:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()

    async def read():
        while True:
            try:
                piece = await reader.read(PIECE)
            except ConnectionError:
                piece = b""
            queue.put_nowait((loop.time() + delay, piece))
            if not piece:
                return

    await asyncio.gather(send(), read(), return_exceptions=True)


async def main():
    delay = float(sys.argv[1]) / 2000
    for pair in sys.argv[2:]:
        listen, target = map(int, pair.split(":"))

        async def serve(reader, writer, target=target):
            # The handshake of TCP is a round trip as well.
            await asyncio.sleep(2 * delay)
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(pump(reader, there_writer, delay), pump(there_reader, writer, delay))
            writer.close()
            there_writer.close()

        await asyncio.start_server(serve, "127.0.0.1", listen)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
