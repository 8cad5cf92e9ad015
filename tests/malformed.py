"""JSON that parsers take or refuse, and requests that are no HTTP or hide another one.

The kinds are those of test suites for JSON parsers (what each has to refuse, has to take, and may do either
with), of gunicorn's tests of malformed requests, and of request smuggling.
"""

_NUMBERS = """
01 -01 00 -00 1. -1. .5 -.5 +1 1e 1e+ 1E- 0e 0E+ 1eE2 0.e1 2.e3 1.e 1e1.5 1e-1- 9.3e+3e 0x1 0X1F 0b1 1_0 --1
-+1 - +- 1a 1.2.3 $1 1/2 1,,2 1;2 1:2 1.5f 1L NaN -NaN nan Infinity -Infinity +Infinity inf
"""
_WORDS = """
nul nulll tru trues True fals False undefined None void a * # $ @ ~ < 'a' `a` (1) <null> =1 \\u0020
"""
_TEXTS = [
    r'"',
    r'"a',
    r'"\x"',
    r'"\u12"',
    r'"\u123g"',
    r'"\"',
    r'"\a"',
    r'"\ "',
    r'"\U0041"',
    r'"a" b',
    r'"\u{41}"',
]
_TEXTS += ['"\n"', '"\t"', '"\0"', '"\x1f"', '"a\\\n"', '"a"b"', "\"a'", "'\"a'", r"\"a\""]
_ARRAYS = [
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[,]",
    "[1,,2]",
    "[1 2]",
    "[1:2]",
    "[1}",
    "[[1]",
    "[1]]",
    '["a"',
]
_ARRAYS += [
    "[1,\n",
    "[x",
    "[1;2]",
    "[\x0b1]",
    "[1\x0c]",
    "[1\xa0]",
    "[1\u2060]",
    "[1,2,",
    '["a",\n4\n,1,',
    "[1]#",
    "[**]",
]
_OBJECTS = [
    "{",
    "}",
    '{"a"',
    '{"a":',
    '{"a":1',
    '{"a":1,',
    '{"a":1,}',
    "{,}",
    '{"a"}',
    '{"a",1}',
    '{"a" 1}',
    "{:1}",
]
_OBJECTS += [
    '{"a"::1}',
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "{null:1}",
    '{"a":1 "b":2}',
    '{"a":1,,"b":2}',
    "{[]:1}",
    '{"a":1]',
]
_OBJECTS += [
    '{"a":1}}',
    '{"a":1}#',
    '{"a":1}/**/',
    '{"a":/*c*/1}',
    '{"a":1}//',
    '{"a":1}{"a":1}',
    '{"a":1}"b"',
    '{"a"=1}',
]
_OBJECTS += [
    '{"a":"b',
    '{"a":1}]',
    '{"a":x}',
    "{\"a\":'b'}",
    "{1}",
    '{"a":1;"b":2}',
    '{"a":[}',
    '{"a":{]}',
    "{{}}",
    '{"":}',
]
_BYTES = [
    b"\xff",
    b'"\xff"',
    b'"\xc3"',
    b'"\xed\xa0\x80"',
    b'"\xc0\xaf"',
    b'"\xf4\x90\x80\x80"',
    b"[\xe5]",
    b"[1]\0",
]
_BYTES += [
    "[1]".encode("utf-16"),
    "[1]".encode("utf-16-be"),
    b"\xef\xbb\xbf",
    b"\xef\xbb{}",
    b"\0",
    b"",
    b" ",
    b"\r\n",
]
_DEEP = [
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'[{"":' * 50_000,
    b"[" * 100_000 + b"]" * 99_999,
    b'"' + b"\\" * 99_999,
]
WRONG = (
    [text.encode() for text in (*_NUMBERS.split(), *_WORDS.split(), *_TEXTS, *_ARRAYS, *_OBJECTS)]
    + _BYTES
    + _DEEP
)
RIGHT = [
    "0",
    "-0",
    "5",
    "1.25",
    "1e0",
    "1E+0",
    "1e-2",
    "12.5e-1",
    "0.0",
    "0e1",
    "0e+1",
    "-1",
    "20e-1",
    " 1",
    "1 ",
    "\n1\t",
]
EITHER = [
    "1e400",
    "-1e400",
    "1e-400",
    "1" * 100,
    "0." + "1" * 1000,
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '{"a":1,"a":2}',
]
EITHER += [
    "null",
    "true",
    "[]",
    "{}",
    '""',
    '"\\u0000"',
    '"\\ud83d\\ude00"',
    "[" * 500 + "]" * 500,
    '"\u2028\ufffe"',
]
EITHER += [
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 50_000 + "1" + "}" * 50_000,
    '"' + "x" * 1_000_000 + '"',
    '{"":""}',
]
FIRST_LINES = [
    b"GET /livez",
    b"GET /livez HTTP/2.0",
    b"GET /livez HTTP/1.2",
    b"GET /livez HTTP/1.10",
    b"GET /livez HTTP/01.1",
    b"GET /livez HTTP/-1.1",
    b"GET /livez http/1.1",
    b"GET /livez FTP/1.1",
    b"GET /livez HTTP/1.1 ",
    b"GET /livez HTTP/1.1 x",
    b"GET  /livez HTTP/1.1",
    b"GET\t/livez\tHTTP/1.1",
    b" GET /livez HTTP/1.1",
    b"GET /li vez HTTP/1.1",
    b"GET HTTP/1.1",
    b"GET  HTTP/1.1",
    b"GET \\livez HTTP/1.1",
    b'GET /"<> HTTP/1.1',
    b"GET /\0 HTTP/1.1",
    b"GET /a\rb HTTP/1.1",
    b"GET livez HTTP/1.1",
    b"G[]T /livez HTTP/1.1",
    b"G\0T /livez HTTP/1.1",
    b"G\xc9T /livez HTTP/1.1",
    b"GET: /livez HTTP/1.1",
    b"BREW /livez HTTP/1.1",
    b"PRI * HTTP/1.1",
    b"CONNECT a:80 HTTP/1.1",
    b"TRACE /livez HTTP/1.1",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /livez HTTP/1.1",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    b"A" * 5000 + b" /livez HTTP/1.1",
    b"GET /" + b"x" * 70_000 + b" HTTP/1.1",
]
HEADERS = [
    b"bad",
    b"b d: 1",
    b"bad : 1",
    b": 1",
    b"a: b\0c",
    b"a\0: b",
    b"a: b\rc: d",
    b"a: b\r\n c",
    b"a: b\r\n\tc",
    b"a(b: c",
    b"a\xc3\xa9: c",
    b"a: \x01",
    b"a: \x7f",
    b"Host: b",
    b"a" * 100_000 + b": 1",
    b"a: " + b"x" * 1_000_000,
    b"\r\n".join(b"h%d: 1" % number for number in range(120)),
]
LENGTHS = [
    "{n}",
    "+{n}",
    "{n} ",
    "  {n}",
    "0x{n:x}",
    "{n},{n}",
    "{n}, {m}",
    "0{n}",
    "-{n}",
    "{n}.0",
    "{n}\t",
    "\x0b{n}",
]
LENGTHS += [
    "",
    "{n}\r\nContent-Length: {n}",
    "{n}\r\nContent-Length: {m}",
    "1_0",
    "\xb2",
    "{n}e0",
    "9" * 30,
    "{n};",
    "0",
]
CODINGS = [
    "chunked",
    "CHUNKED",
    " chunked",
    "chunked ",
    "\tchunked",
    "chunked, chunked",
    "chunked,",
    ",chunked",
]
CODINGS += [
    "identity",
    "identity, chunked",
    "chunked, identity",
    "gzip, chunked",
    "gzip",
    "xchunked",
    "chunkedx",
]
CODINGS += [
    "chunk",
    "\x0bchunked",
    "chunked\x0b",
    "chunked;q=1",
    '"chunked"',
    "",
    "chunked\r\nTransfer-Encoding: identity",
]
CODINGS += ["identity\r\nTransfer-Encoding: chunked", "chunked\r\nTransfer-Encoding: chunked", "\r\n chunked"]
NAMES = [
    "Transfer-Encoding",
    "transfer-encoding",
    "Transfer-Encoding ",
    " Transfer-Encoding",
    "Transfer-Encoding\t",
]
NAMES += [
    "Transfer_Encoding",
    "X: y\r\n Transfer-Encoding",
    "X: y\nTransfer-Encoding",
    "X: y\rTransfer-Encoding",
    "\0Transfer-Encoding",
]
CHUNKED = [
    b"%x;e=1\r\n%s\r\n0\r\n\r\n",
    b'%x;e="a\r\nb"\r\n%s\r\n0\r\n\r\n',
    b"%x ;e\r\n%s\r\n0\r\n\r\n",
    b" %x\r\n%s\r\n0\r\n\r\n",
]
CHUNKED += [
    b"0x%x\r\n%s\r\n0\r\n\r\n",
    b"+%x\r\n%s\r\n0\r\n\r\n",
    b"-%x\r\n%s\r\n0\r\n\r\n",
    b"%x\n%s\r\n0\r\n\r\n",
]
CHUNKED += [
    b"%x\r\n%s\n0\r\n\r\n",
    b"%x\r\n%s0\r\n\r\n",
    b"%x\r\n%sXX0\r\n\r\n",
    b"%x\r\n%s\r\n0\r\nTrailer: a\r\n\r\n",
]
CHUNKED += [
    b"%x\r\n%s\r\n0\r\nContent-Length: 5\r\n\r\n",
    b"%x\r\n%s\r\n0\n\n",
    b"%x\r\n%s\r\n00\r\n\r\n",
    b"%x_\r\n%s\r\n0\r\n\r\n",
]
CHUNKED += [
    b"%020x\r\n%s\r\n0\r\n\r\n",
    b"FFFFFFFFFFFFFFFF%x\r\n%s\r\n0\r\n\r\n",
    b"%x\r\r\n%s\r\n0\r\n\r\n",
    b"%x;\n\r\n%s\r\n0\r\n\r\n",
]
CHUNKED += [
    b"%x;" + b"e" * 100_000 + b"\r\n%s\r\n0\r\n\r\n",
    b"%x\r\n%s\r\n0\r\n" + b"T: x\r\n" * 5000 + b"\r\n",
    b"%x\t\r\n%s\r\n0\r\n\r\n",
]
