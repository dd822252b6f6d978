"""Texts that a tokenizer must give back as they are."""

TEXTS = {
    "empty": "",
    "newlines": "\n\na\n \n",
    "crlf": "one\r\ntwo\r\n\r\nthree\r",
    "nul": "a\0b\0\0",
    "combining": "e\u0301 n\u0303 \u0301 क्षि",
    "emoji": "👩‍👩‍👧 🇩🇪😀",
    "boundary": "<boundary> <unk> a<boundary>",
    "spaces": "  a   b \t\tc\u00a0\u3000d \x85\x1c\u2028e  ",
    "scripts": "Größe, мир! 中文。ไทย don't _x1 x_2",
    "private": "\ue000\ufdd0\uffff\U0010ffff",
}
