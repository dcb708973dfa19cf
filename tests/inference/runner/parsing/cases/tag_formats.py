"""Calls in tags, pairs, Python and Gemma's own notation: what is converted, and what is no call."""

from inference.runner.parsing.pieces import Content
from tests.inference.runner.parsing.case import Case, Made

CODER = "<tool_call>\\n<function=example_function_name>"
MINIMAX = "<minimax:tool_call>"
GLM = "<arg_key>{arg-key-1}</arg_key>"
LFM = "<|tool_list_start|>"
GEMMA = "<|tool_call>call:"
MINICPM = '<param name="param-name">'
XTML = "'<|open|>' '<|close|>' '<|sep|>'"
OSLO = Made("weather", '{"city": "Oslo"}')


def coder(inside: str) -> str:
    return f"<tool_call>\n<function=save>\n{inside}</function>\n</tool_call>"


def parameter(key: str, value: str) -> str:
    return f"<parameter={key}>\n{value}\n</parameter>\n"


CONVERTED = [
    ("an integer", "mode", "420", "420"),
    ("a negative number", "ratio", "-1.5e3", "-1.5e3"),
    ("a word where a number is asked", "mode", "octal", '"octal"'),
    ("true", "force", "true", "true"),
    ("Python's true", "force", "True", "true"),
    ("a list", "tags", '["a", "b"]', '["a", "b"]'),
    ("a list of Python's", "tags", "['a', 'b',]", '["a", "b"]'),
    ("an object", "meta", '{"deep": {"a": 1}}', '{"deep": {"a": 1}}'),
    ("an object of Python's", "meta", "{'deep': {'a': None}}", '{"deep": {"a": null}}'),
    ("an object in lines", "meta", '{\n  "deep": {}\n}', '{\n  "deep": {}\n}'),
    ("a number as a string", "path", "5", '"5"'),
    ("null where it may be", "owner", "null", "null"),
    ("null where a string is asked", "path", "null", '"null"'),
    ("an object where a string is asked", "text", '{"a": 1}', '"{\\"a\\": 1}"'),
    ("an empty string", "text", "", '""'),
    ("lines at both ends", "text", "\na\n", '"\\na\\n"'),
    ("spaces at both ends", "text", "  a  ", '"  a  "'),
    ("anything that is a number", "any", "5", "5"),
    ("anything that is an object", "any", '{"a": [1]}', '{"a": [1]}'),
    ("anything that is a word", "any", "five", '"five"'),
    ("anything that is in brackets", "any", "[draft] a", '"[draft] a"'),
    ("quotes", "text", 'a "b" \\n', '"a \\"b\\" \\\\n"'),
    ("code", "text", "if a < b:\n    return '<p>'", "\"if a < b:\\n    return '<p>'\""),
]
CASES = [
    *(Case(f"converts {name}", CODER, coder(parameter(key, text)), [Made("save", f'{{"{key}": {found}}}')])
      for name, key, text, found in CONVERTED),
    Case("a function without its marker", CODER,
         "<function=weather>\n<parameter=city>\nOslo\n</parameter>\n</function>", [OSLO]),
    Case("a function without its first marker", CODER,
         "<function=weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>",
         [OSLO]),
    Case("a JSON call", CODER,
         '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>', [OSLO]),
    Case("JSON for parameters", CODER,
         '<tool_call><function=weather>{"city": "Oslo"}</function></tool_call>', [OSLO]),
    Case("a value on its tag's line", CODER,
         "<tool_call><function=weather><parameter=city>Oslo</parameter></function></tool_call>", [OSLO]),
    Case("two functions in one marker", CODER,
         "<tool_call>\n<function=now>\n</function>\n<function=weather>\n<parameter=city>\nOslo\n"
         "</parameter>\n</function>\n"
         "</tool_call>", [Made("now", "{}"), OSLO]),
    Case("text on both sides", CODER,
         "See:\n\n<tool_call>\n<function=now>\n</function>\n</tool_call>\nSo.",
         [Content("See:"), Made("now", "{}"), Content("\nSo.")]),
    Case("a marker in prose", CODER, "Use <tool_call> or <function=x> here.",
         [Content("Use <tool_call> or <function=x> here.")]),
    Case("a function in prose", CODER, "<function=", [Content("<function=")]),
    Case("cut off in a string", CODER, "<tool_call>\n<function=weather>\n<parameter=city>\nOs",
         [Made("weather", '{"city": "Os"}')]),
    Case("cut off in a number", CODER, "<tool_call>\n<function=weather>\n<parameter=days>\n2",
         [Made("weather", '{"days": 2}')]),
    Case("cut off in a key", CODER, "<tool_call>\n<function=weather>\n<parameter=ci",
         [Made("weather", "{}")]),
    Case("cut off in the name", CODER, "<tool_call>\n<function=weat",
         [Content("<tool_call>\n<function=weat")]),
    Case("a tool that was not offered", CODER,
         "<tool_call>\n<function=fly>\n<parameter=to>\nOslo\n</parameter>\n<parameter=at>\n5\n"
         "</parameter>\n</function>\n</tool_call>",
         [Made("fly", '{"to": "Oslo", "at": 5}')]),
    Case("no tools offered", CODER, "<tool_call>\n<function=now>\n</function>\n</tool_call>",
         [Content("<tool_call>\n<function=now>\n</function>\n</tool_call>")], tools=[]),
    Case("step's and nemotron's", "<tool_call>\\n<function= <tools>",
         "<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>",
         [OSLO]),
    Case("functionary's", "<function=example_function_name>{{", '<function=weather>{"city": "Oslo"}'
         '</function>', [OSLO]),
    Case("minimax, two calls", MINIMAX,
         '<minimax:tool_call>\n<invoke name="now">\n</invoke>\n<invoke name="weather">\n'
         '<parameter name="city">Oslo</parameter>\n'
         "</invoke>\n</minimax:tool_call>", [Made("now", "{}"), OSLO]),
    Case("minimax without quotes", MINIMAX,
         "<minimax:tool_call><invoke name=weather><parameter name=city>Oslo</parameter></invoke>"
         "</minimax:tool_call>", [OSLO]),
    Case("minimax in prose", MINIMAX, "A <minimax:tool_call> tag", [Content("A <minimax:tool_call> tag")]),
    Case("minimax without an end", MINIMAX,
         '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Oslo</parameter>',
         [OSLO]),
    Case("minicpm in single quotes", MINICPM,
         "<function name='weather'><param name='city'>Oslo</param></function>", [OSLO]),
    Case("minicpm with CDATA", MINICPM,
         '<function name="save"><param name="text"><![CDATA[a < b\n& c]]></param><param name="mode"><!'
         '[CDATA[5]]></param></function>',
         [Made("save", '{"text": "a < b\\n& c", "mode": 5}')]),
    Case("minicpm in prose", MINICPM, "A <function name=> and a <functional> style",
         [Content("A <function name=> and a <functional> style")]),
    Case("glm without arguments", GLM, "<tool_call>now</tool_call>", [Made("now", "{}")]),
    Case("glm's lines", GLM,
         "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n</tool_call>", [OSLO]),
    Case("glm's JSON", GLM, '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>',
         [OSLO]),
    Case("glm cut off", GLM, "<tool_call>weather<arg_key>city</arg_key><arg_value>Os",
         [Made("weather", '{"city": "Os"}')]),
    Case("glm cut off in a key", GLM, "<tool_call>weather<arg_key>ci", [Made("weather", "{}")]),
    Case("glm in prose", GLM, "The <tool_call> tag.\nIt opens.",
         [Content("The <tool_call> tag.\nIt opens.")]),
    Case("glm's types", GLM,
         "<tool_call>save<arg_key>mode</arg_key><arg_value>5</arg_value><arg_key>path</arg_key>"
         "<arg_value>5</arg_value>"
         '<arg_key>tags</arg_key><arg_value>["a"]</arg_value></tool_call>', [Made("save",
         '{"mode": 5, "path": "5", "tags": ["a"]}')]),
    Case("xtml with JSON", XTML,
         '<|open|>tools<|sep|><|open|>call tool="weather" index="1"<|sep|><|open|>json type="object"'
         '<|sep|>{"city": "Oslo"}'
         "<|close|>json<|sep|><|close|>call<|sep|><|close|>tools<|sep|>", [OSLO]),
    Case("xtml keeps its lines", XTML,
         '<|open|>tools<|sep|><|open|>call tool="save" index="1"<|sep|>'
         '<|open|>argument key="text" type="string"<|sep|>\na\n'
         "<|close|>argument<|sep|><|close|>call<|sep|><|close|>tools<|sep|>",
         [Made("save", '{"text": "\\na\\n"}')]),
    Case("xtml's envelope", XTML,
         "<|open|>response<|sep|>Hi.<|close|>response<|sep|><|close|>message<|sep|><|end_of_msg|>",
         [Content("Hi.")]),
    Case("gemma's spaces", GEMMA, '<|tool_call>call:weather{ city: <|"|>Oslo<|"|> }<tool_call|>',
         [Made("weather", {"city": "Oslo"})]),
    Case("gemma's quoted keys", GEMMA, '<|tool_call>call:save{meta:{<|"|>deep<|"|>:{}}}<tool_call|>',
         [Made("save", {"meta": {"deep": {}}})]),
    Case("gemma's strings have no escapes", GEMMA,
         '<|tool_call>call:save{text:<|"|>a\\n"b"<|"|>}<tool_call|>',
         [Made("save", {"text": 'a\\n"b"'})]),
    Case("gemma in plain JSON", GEMMA, '<|tool_call>call:weather{"city": "Oslo"}<tool_call|>', [OSLO]),
    Case("gemma cut off", GEMMA, '<|tool_call>call:weather{city:<|"|>Os', [Made("weather", {"city": "Os"})]),
    Case("gemma in prose", GEMMA, "the <|tool_call> token", [Content("the <|tool_call> token")]),
    Case("lfm's dotted name", LFM, "<|tool_call_start|>[sky.weather(city='Oslo')]<|tool_call_end|>",
         [Made("sky.weather", {"city": "Oslo"})]),
    Case("lfm's JSON", LFM,
         '<|tool_call_start|>[{"name": "weather", "arguments": {"city": "Oslo"}}]<|tool_call_end|>', [OSLO]),
    Case("lfm's literals", LFM,
         "<|tool_call_start|>[save(force=True, owner=None, tags=['a', \"b\"], meta={'deep': {'x': 1}})]"
         "<|tool_call_end|>",
         [Made("save", {"force": True, "owner": None, "tags": ["a", "b"], "meta": {"deep": {"x": 1}}})]),
    Case("lfm's quotes and parentheses", LFM, "<|tool_call_start|>[save(text='f(x) = \"y\", [1]')]"
         "<|tool_call_end|>",
         [Made("save", {"text": 'f(x) = "y", [1]'})]),
    Case("lfm's lines", LFM,
         "<|tool_call_start|>[\n  now(),\n  weather(\n    city = 'Oslo',\n  ),\n]<|tool_call_end|>",
         [Made("now", {}), Made("weather", {"city": "Oslo"})]),
    Case("lfm's positional arguments are no call", LFM,
         "<|tool_call_start|>[weather('Oslo')]<|tool_call_end|>",
         [Content("<|tool_call_start|>[weather('Oslo')]<|tool_call_end|>")]),
    Case("lfm cut off", LFM, "<|tool_call_start|>[weather(city='Os", [Made("weather", {"city": "Os"})]),
    Case("lfm cut off behind a key", LFM, "<|tool_call_start|>[weather(city='Oslo', da", [OSLO]),
    Case("lfm in prose", LFM, "<|tool_call_start|> is a token", [Content("<|tool_call_start|> is a token")]),
]  # fmt: skip
