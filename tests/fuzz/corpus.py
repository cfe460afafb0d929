"""Seeds for the fuzz run: well-formed examples of everything a reader knows, and some that hurt readers once."""

MAIL = (
    (
        b'From: A <a@b.example>\r\nTo: g: c@d, "x" <e@f>;\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n'
        b"Date: Mon, 5 Jan 2026 10:00:00 +0000\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nhi\r\n--b--\r\n"
    ),
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=x.example; s=y; h=from:to; bh=YQ==; b=YQ==; l=5\r\nFrom: a@b\r\n\r\nx",
    b'Content-Type: text/plain; charset*0*=utf-8\'\'%41; charset*1=b (comment (nested)); name="a\\"b"\r\n\r\nbody',
)
ARGUMENTS = (
    b' 1:*,5 (FLAGS UID BODY.PEEK[1.2.HEADER.FIELDS (From "To")]<0.100> ENVELOPE) (CHANGEDSINCE 5)',
    b" INBOX",
    b' "a b" {3}\r\nabc',
    b" RETURN (MIN MAX ALL) CHARSET UTF-8 OR NOT SEEN (HEADER subject {2}\r\nab SINCE 1-Jan-2026 LARGER 5 UID 1:*) MODSEQ 7",
    b' INBOX (\\Seen key) "05-Jan-2026 10:00:00 +0000" {10}',
    b" 1:4 (UNCHANGEDSINCE 3) +FLAGS.SILENT (\\Deleted \\Answered a)",
    b' "" "*%"',
    b' (SUBSCRIBED) "" (INBOX "*") RETURN (CHILDREN)',
    b" INBOX (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ SIZE)",
    b" ALL",
    b" 1:* FULL",
    b" 2,4:7,9,12:* &AOk-",
    b" a &Jjo-/b",
    b' ("name" "x" "version" NIL)',
    b" CONDSTORE",
    b" PLAIN AGEAYg==",
    b"",
    b" INBOX (CONDSTORE)",
    b" " + b"(" * 60,
    b" NOT" * 60 + b" ALL",
    b" 4294967295:0 BODY[]",
)
NAMES = (
    b"INBOX",
    b"Work/2026",
    b"&Jjo-/x.y",
    b"a&-b",
    b"..",
    b"a/../b",
    b"&AC4ALg-",
    b"\xc3\xa9",
    b".Work.a&AC4-b",
    b"&2D3eAA-",
    b"x" * 300,
)
CONFIG = (
    b'[server]\nhostname = "mail.example.org"\nfronts = 2\n[listen]\nsmtp = ["*:25", "[::1]:26"]\n[greylist]\nmin_delay = "5m"\n',
    b'server.hostname = "a"\n[[listen]]\n[tls]\nauto_tls = false # x\n[queue]\nbackend = "redis"\nredis_url = "redis://h"\n',
    b"a = " + b"[" * 3_000,
    b"a = " + b"{b=" * 3_000,
    b"a = " + b"1" * 5_000,
    b"a = 2026-13-45T99:99:99Z",
    b"[server]\nfronts = 1e400\n",
    b"[server]\nhostname = '''\n\n'''",
    b"[limits]\nmax_message_bytes = -1\n[dns]\nservers = ['127.0.0.1:99999']\ntimeout_seconds = nan",
)
FRAMES = (
    b'{"id":1,"method":"status","params":{"a":[1,2.5e3,null,true]},"via":"cli"}',
    b'{"id":7,"error":{"code":"a.b","text":"\\u00e9"}}',
    b'{"hello":{"protocol":1,"version":"0","hostname":"h","uid":0,"user":"root"}}',
    b"[" * 5_000,
    b'{"x":' * 5_000,
    b'{"id":1e400}',
)
REPLIES = (
    b"250 2.0.0 ok\r\n",
    b"250-a\r\n250-SIZE 5\r\n250 b\r\n",
    b"421\r\n",
    b"550-5.1.1 x\r\n551 y\r\n",
    b"220 h ESMTP\n",
    b"2 5 0\r\n",
)
