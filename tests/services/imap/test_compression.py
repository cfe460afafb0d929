"""COMPRESS=DEFLATE: what a client that compresses sees, and what a hostile one cannot do. RFC 4978."""

import asyncio
import contextlib
import random
import ssl
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.services.imap.compression import PIECE_BYTES, CorruptStream, Deflate
from tests.support.imap_server import PASSWORD, ImapServer, imap_server


class Packed:
    """A compressing client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._out = zlib.compressobj(wbits=-15)
        self._in = zlib.decompressobj(wbits=-15)
        self._read = b""

    def send(self, data: bytes) -> None:
        self.writer.write(self._out.compress(data) + self._out.flush(zlib.Z_SYNC_FLUSH))

    async def until(self, start: bytes) -> bytes:
        async with asyncio.timeout(20):
            while True:
                lines = self._read.split(b"\r\n")
                if any(line.startswith(start) for line in lines[:-1]):
                    taken, self._read = self._read, b""
                    return taken
                data = await self.reader.read(1 << 16)
                assert data, "the server closed the connection"
                self._read += self._in.decompress(data)


async def packed(server: ImapServer) -> Packed:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 24)
    await reader.readline()
    writer.write(b"a LOGIN alice %b\r\nb COMPRESS DEFLATE\r\n" % PASSWORD.encode())
    assert b" OK " in await reader.readline()
    assert await reader.readline() == b"b OK DEFLATE active\r\n"
    return Packed(reader, writer)


async def test_a_whole_conversation(tmp_path: Path) -> None:
    async with imap_server(tmp_path, max_message_bytes=1 << 22) as server:
        client = await packed(server)
        client.send(b"c COMPRESS DEFLATE\r\nd CAPABILITY\r\n")
        answer = await client.until(b"d OK")
        assert b"c NO [COMPRESSIONACTIVE]" in answer
        assert b"COMPRESS=DEFLATE" not in answer
        body = b"Subject: x\r\n\r\n" + random.Random(4).randbytes(300_000).hex().encode()
        client.send(b"e APPEND INBOX {%d+}\r\n%b\r\nf SELECT INBOX\r\ng FETCH 1 BODY.PEEK[]\r\n" % (len(body), body))
        assert body in await client.until(b"g OK")
        client.send(b"h IDLE\r\n")
        await client.until(b"+ idling")
        session = next(iter(server.service._sessions))
        session.rest()  # what a poll does while nothing happens
        client.send(b"DONE\r\ni LOGOUT\r\n")
        await client.until(b"i OK")
        client.writer.close()


async def test_it_works_within_tls(tmp_path: Path) -> None:
    async with imap_server(tmp_path, require_tls=True) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 24)
        await reader.readline()
        writer.write(b"s STARTTLS\r\n")
        await reader.readline()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await writer.start_tls(context)
        writer.write(b"a LOGIN alice %b\r\nb COMPRESS DEFLATE\r\n" % PASSWORD.encode())
        await reader.readline()
        assert await reader.readline() == b"b OK DEFLATE active\r\n"
        client = Packed(reader, writer)
        client.send(b'c LIST "" *\r\nd LOGOUT\r\n')
        assert b"* LIST" in await client.until(b"d OK")
        writer.close()


async def test_what_is_pipelined_behind_the_command_is_compressed(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        client = Packed(reader, writer)
        await reader.readline()
        writer.write(b"a LOGIN alice %b\r\n" % PASSWORD.encode())
        await reader.readline()
        out = zlib.compressobj(wbits=-15)
        writer.write(b"b COMPRESS DEFLATE\r\n" + out.compress(b"c NOOP\r\n") + out.flush(zlib.Z_SYNC_FLUSH))
        assert await reader.readline() == b"b OK DEFLATE active\r\n"
        assert await client.until(b"c OK") == b"c OK NOOP done\r\n"
        writer.close()


async def test_unauthenticate_ends_compression_behind_its_answer(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server:
        client = await packed(server)
        client.send(b"c UNAUTHENTICATE\r\n")
        assert b"COMPRESS" not in await client.until(b"c OK")
        client.writer.write(b"d NOOP\r\n")
        assert await client.reader.readline() == b"d OK NOOP done\r\n"
        client.writer.close()


async def test_a_few_bytes_that_become_many_take_no_memory(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server:
        client = await packed(server)
        client.send(b"c NOOP " + b"x" * (64 << 20) + b"\r\nd NOOP\r\n")
        session = next(iter(server.service._sessions))
        assert b"c BAD" in await client.until(b"d OK")
        assert session.framer.buffered == 0
        client.writer.close()


async def test_what_is_not_deflate_ends_the_connection(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server:
        client = await packed(server)
        client.writer.write(b"\xff" * 100)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                assert await client.reader.read() == b""


@given(st.lists(st.binary(max_size=3000), max_size=8), st.integers(1, 500), st.booleans())
def test_any_pieces_come_out_as_they_went_in(parts: list[bytes], step: int, ended: bool) -> None:
    data = b""
    for part in parts:
        out = zlib.compressobj(wbits=-15)
        data += out.compress(part) + out.flush(zlib.Z_FINISH if ended else zlib.Z_FULL_FLUSH)
    stream = Deflate()
    got = b""
    for start in range(0, len(data), step):
        stream.take(data[start : start + step])
        while stream.waiting:
            piece = stream.unpack()
            assert len(piece) <= PIECE_BYTES
            got += piece
    assert got == b"".join(parts)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=3000), st.booleans()), max_size=8))
def test_a_new_compressor_goes_on_where_the_last_one_ended(parts: list[tuple[bytes, bool]]) -> None:
    stream, client = Deflate(), zlib.decompressobj(wbits=-15)
    for part, rests in parts:
        assert client.decompress(stream.pack(part)) == part
        if rests:
            stream.rest()


def test_noise_is_refused() -> None:
    stream = Deflate()
    stream.take(b"\xff\xff\xff")
    with pytest.raises(CorruptStream):
        stream.unpack()
