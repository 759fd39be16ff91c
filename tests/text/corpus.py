"""A small corpus in thirty-some scripts, and what else prompts are made of: code, tables, emoji, whitespace.

Written for this project. The keys are the words with which Unicode's names of the scripts' letters begin.
"""

SCRIPTS = {
    "LATIN": (
        "In the morning we read 3 letters, wrote 12 answers and drank far too much coffee. She'd"
        " said it's fine.\n"
        "Über den Wäldern zogen große Vögel nach Süden; niemand wußte, weshalb. Straße, Maß, Äpfel.\n"
        "L'été dernier, nous n'avons pas quitté la forêt d'Orléans : il faisait 38 °C, hélas !\n"
        "Zażółć gęślą jaźń, powiedziała łódź. Příliš žluťoučký kůň úpěl ďábelské ódy.\n"
        "Hôm nay trời đẹp, chúng tôi đi dạo quanh hồ rồi uống trà. Türkiye'de ılık bir İzmir akşamı.\n"
        "¿Dónde está el niño? ¡Aquí! São Paulo não dorme. Gårdagens smørrebrød, þrír hestar, ħobż."
    ),
    "GREEK": "Το πρωί διαβάσαμε τρία γράμματα· ύστερα πήγαμε στη θάλασσα. Ἀρχὴ ἥμισυ παντός.",
    "CYRILLIC": "Утром мы прочли 3 письма и выпили чай. Їжак з'їв ґаву. Қазақ тілі әдемі. Ђорђе и Љубица.",
    "ARMENIAN": "Առավոտյան մենք կարդացինք երեք նամակ և խմեցինք սուրճ։",
    "GEORGIAN": "დილით სამი წერილი წავიკითხეთ და ჩაი დავლიეთ. ᲓᲘᲚᲐ",
    "HEBREW": 'בבוקר קראנו שלושה מכתבים ושתינו קפה. שָׁלוֹם, עוֹלָם! צה"ל, ד״ר',
    "ARABIC": (
        "في الصباح قرأنا ٣ رسائل وشربنا القهوة. السَّلامُ عليكم؛ كيف الحال؟ صبح ۱۲ نامه خواندیم و"
        " می‌رویم. اردو میں ۴ خط"
    ),
    "SYRIAC": "ܫܠܡܐ ܥܠܡܐ، ܒܪܝܟ ܨܦܪܐ",
    "THAANA": "އައްސަލާމު ޢަލައިކުމް ދުނިޔެ",
    "DEVANAGARI": "सुबह हमने ३ पत्र पढ़े और चाय पी। क्या आप ठीक हैं? संस्कृतम्‌ ज्ञानम्",
    "BENGALI": "সকালে আমরা ৩টি চিঠি পড়লাম আর চা খেলাম। কেমন আছেন?",
    "GURMUKHI": "ਸਵੇਰੇ ਅਸੀਂ ੩ ਚਿੱਠੀਆਂ ਪੜ੍ਹੀਆਂ ਅਤੇ ਚਾਹ ਪੀਤੀ।",
    "GUJARATI": "સવારે અમે ૩ પત્રો વાંચ્યા અને ચા પીધી.",
    "ORIYA": "ସକାଳେ ଆମେ ୩ଟି ଚିଠି ପଢ଼ିଲୁ ଓ ଚା ପିଇଲୁ।",
    "TAMIL": "காலையில் நாங்கள் ௩ கடிதங்களைப் படித்தோம், தேநீர் குடித்தோம்.",
    "TELUGU": "ఉదయం మేము ౩ ఉత్తరాలు చదివాము, టీ తాగాము.",
    "KANNADA": "ಬೆಳಿಗ್ಗೆ ನಾವು ೩ ಪತ್ರಗಳನ್ನು ಓದಿದೆವು, ಚಹಾ ಕುಡಿದೆವು.",
    "MALAYALAM": "രാവിലെ ഞങ്ങൾ ൩ കത്തുകൾ വായിച്ചു, ചായ കുടിച്ചു.",
    "SINHALA": "උදේ අපි ලිපි 3ක් කියෙව්වා, තේ බිව්වා. ශ්‍රී ලංකා",
    "THAI": "ตอนเช้าเราอ่านจดหมาย ๓ ฉบับแล้วดื่มชา น้ำใจไทย",
    "LAO": "ຕອນເຊົ້າພວກເຮົາອ່ານຈົດໝາຍ ໓ ສະບັບ ແລະ ດື່ມຊາ",
    "TIBETAN": "ཞོགས་པར་ང་ཚོས་ཡི་གེ་༣་བཀླགས། ཇ་བཏུང་།",
    "MYANMAR": "မနက်က စာ ၃ စောင် ဖတ်ပြီး လက်ဖက်ရည် သောက်တယ်။",
    "KHMER": "ព្រឹកនេះ យើងអានសំបុត្រ ៣ ហើយផឹកតែ។",
    "ETHIOPIC": "ጠዋት ሦስት ደብዳቤዎችን አነበብን፤ ቡናም ጠጣን። ፳፻",
    "CHEROKEE": "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᎣᏏᏲ ꭰꮿ",
    "CANADIAN": "ᐃᓄᒃᑎᑐᑦ ᐅᓪᓛᒃᑯᑦ ᑎᑎᖅᑲᑦ",
    "MONGOLIAN": "ᠥᠭᠯᠦᠭᠡ ᠪᠢᠳᠡ ᠭᠤᠷᠪᠠ ᠴᠠᠢ ᠤᠤᠭᠤᠪᠠ᠃",
    "HIRAGANA": "あさ、てがみを３つう読んで、おちゃをのみました。「いいてんきですね」と言った。",
    "KATAKANA": "コンピューターでプログラムを書く。ﾊﾝｶｸ ｶﾅ ヴィオラ・ダ・ガンバ",
    "CJK": "早上我们读了三封信，喝了茶。今天气温是２８度；臺灣的朋友說「謝謝你」。𠮷野家 㐂 〇",
    "HANGUL": "아침에 편지 3통을 읽고 차를 마셨어요. ㅋㅋㅋ 한글 맞춤법",
    "BOPOMOFO": "ㄅㄆㄇ ㄓㄨㄥ ㄨㄣˊ",
    "YI": "ꆈꌠꉙ ꀋꐚꌠ",
    "RUNIC": "ᚠᚢᚦᚨᚱᚲ᛫ᚷᚹ",
    "GOTHIC": "𐍅𐌿𐌻𐍆𐌹𐌻𐌰",
    "VAI": "ꕙꔤ ꗪꖺ ꘠꘡",
}

OTHERS = [
    # Code.
    "#include <vector>\nstd::vector<int> v{1, 2, 3};\nfor (auto& x : v) { x <<= 2; sum += x * 0x7fULL; }\n",
    (
        'def read(path: Path) -> dict[str, int]:\n    """Docstring."""\n    with path.open("rb")'
        ' as f:\n        return {k.strip(): int(v, 16) for k, v in (l.split(b"=") for l in f)}\n'
    ),
    (
        'SELECT name, COUNT(*) AS n\nFROM "users" u LEFT JOIN orders o ON o.uid = u.id\nWHERE'
        " u.age >= 21 AND o.at < '2024-02-29T23:59:59Z';"
    ),
    "<!DOCTYPE html>\n<p class='a b'>Fish &amp; chips&nbsp;&#8364;5<br/></p>\n<!-- done -->",
    '{"id": 17, "tags": ["a", "b\\u00e9"], "price": 1.5e-3, "ok": true, "none": null}',
    "$ git log --oneline -n 20 | grep -iE '^[0-9a-f]{7,} (fix|feat)' >> out.txt 2>&1 && echo $?",
    'fn main() -> Result<(), Box<dyn Error>> {\n\tprintln!("{:>8.3}", 2_f64.sqrt());\n\tOk(())\n}\n',
    "| a | b |\n|---|:-:|\n| `x` | **y** |\n\n1. one\n2. two\n   - nested\n\n> quote\n\n---\n",
    r"\begin{align} e^{i\pi} + 1 &= 0 \\ \int_0^\infty x^{-s}\,dx \end{align}",
    # Numbers.
    (
        "0 1 12 123 1234 12345 123456 1234567 12345678901234567890 1,234,567.89 -0.5e+10 1/3 2³"
        " 10⁻⁹ ½ ⅔ ↉ Ⅻ ① ⒈ 〡 𝟘𝟙 ٠١٢٣٤٥ १२३४५ 一二三"
    ),
    "2024-02-29 23:59:60+05:30, +49 (0)30 1234-567, 192.168.0.1:8080, 3..7, 5'11\", v10.0.0-rc.1, 100%",
    # Emoji and symbols.
    "🎉🎊 party 🧑🏿‍🚀👩‍❤️‍💋‍👨 🏴󠁧󠁢󠁷󠁬󠁳󠁿 🇨🇭🇯🇵🇧 #️⃣*️⃣ ✈︎✈️ 🫠🪿 ♟︎ 😀😀😀text😀",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α∧¬β→γ, ∑∏∫∂√∞≠≤≥±×÷ ← ↑ → ↓ ⇒ ⟨ψ|φ⟩ ░▒▓█ ┌─┐│└┘ ♔♕ ☀☁ ©®™ §¶†‡ •…‰ ″‴ №℃ 𝒜𝔅ℂ ⠓⠑⠇⠇⠕",
    "€5 £3 ¥100 ₹20 ₿0.1 ₩₪₫ $1.00 50¢ ﷼ ＄１",
    # Combining marks, and the same text composed and decomposed.
    (
        "Å = A\u030a, é = e\u0301, ñ = n\u0303, ṩ = s\u0323\u0307 = s\u0307\u0323, 각 ="
        " \u1100\u1161\u11a8, ̈alone, a\u20dd, x\u0338y"
    ),
    ("H\u0334\u0351\u035b\u030e\u0329e\u0335\u034c\u0315l\u0337\u0313\u0325l\u0336o\u0358 Z̷̡̈́a̵̛͝l̴̟̈g̶̱̅o̵͎͌"),
    "ﬀ ﬁ ﬂ ﬃ Ǆ ǅ ǆ ĳ ŉ ſ ẛ ẞ İ ı K Å ª º ʰ ₐ ⁿ",
    # Apostrophes and quotes.
    (
        "I'm you're he'll we've they'd it's 'tis DON'T I'M WE'VE rock'n'roll o'clock ''double''"
        " ‘single’ “double” «guillemets» „tief“ 'S'T'RE'VE'M'LL'D"
    ),
    # Whitespace.
    "one two  three   four    five     six      seven       eight\t\ttabs\t \t mixed \n \n\n  \n\t\n end   ",
    "\n\n\nstart\r\n\r\nwindows\r\n\rmac\rnext\u0085nel\u2028ls\u2029ps\vvt\fff\x1cfs\x1dgs\x1ers\x1fus",
    (
        ""
        " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005"
        "\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000|\u180e|\u200b|\u2060|\ufeff|"
    ),
    "a\u00a0b  \u3000c \u2003 d\u200be \u200d f",
    # Directions, private use, specials, noncharacters.
    (
        "abc \u202bעברית\u202c \u2066iso\u2069 \u200eltr\u200f, \ue000\uf8ff\U000f0000,"
        " \ufffc\ufffd\ufffe\uffff\U0010ffff, \x00\x07\x1b[31m\x7f\x80\x9f"
    ),
    (
        "no_breaks_HERE camelCaseAnd_snake_case SCREAMING_SNAKE kebab-case-word"
        " https://example.org/a?b=c&d=%20#e user@host.tld"
    ),
]

CORPUS = [*SCRIPTS.values(), *OTHERS, "\n".join(SCRIPTS.values()), " ".join(OTHERS)]
