"""The closed vocabulary of the corpus in English, French and Chinese, with the grammar to put it together.

Every Chinese phrase reads back to one English phrase, because English always says `the` here.
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import listed

LANGUAGES = ("English", "French", "Chinese")


@dataclass(frozen=True, slots=True)
class Noun:
    english: str
    french: str
    feminine: bool
    chinese: str

    @property
    def french_definite(self) -> str:
        if self.french[0] in "aeioéhœ":
            return f"l'{self.french}"
        return f"la {self.french}" if self.feminine else f"le {self.french}"


@dataclass(frozen=True, slots=True)
class Adjective:
    english: str
    masculine: str
    feminine: str
    chinese: str


@dataclass(frozen=True, slots=True)
class Verb:
    english: str  # third person
    french: str
    chinese: str


def _nouns(table: str) -> list[Noun]:
    rows = (row.split() for row in table.split(",") if row.strip())
    return [Noun(english, french, gender == "f", chinese) for english, french, gender, chinese in rows]


LIVING = _nouns(
    "cat chat m 猫, dog chien m 狗, horse cheval m 马, bird oiseau m 鸟, "
    "cow vache f 牛, mouse souris f 老鼠, "
    "rabbit lapin m 兔子, teacher professeur m 老师, doctor médecin m 医生, girl fille f 女孩, "
    "boy garçon m 男孩, "
    "woman femme f 女人, man homme m 男人, child enfant m 孩子, friend ami m 朋友, student étudiant m 学生"
)
THINGS = _nouns(
    "apple pomme f 苹果, bread pain m 面包, water eau f 水, milk lait m 牛奶, "
    "tea thé m 茶, coffee café m 咖啡, "
    "fish poisson m 鱼, egg œuf m 鸡蛋, rice riz m 米饭, book livre m 书, "
    "table table f 桌子, chair chaise f 椅子, "
    "house maison f 房子, car voiture f 汽车, door porte f 门, window fenêtre f 窗户, flower fleur f 花, "
    "tree arbre m 树, letter lettre f 信, picture image f 图片, hat chapeau m 帽子, shoe chaussure f 鞋子, "
    "key clé f 钥匙, phone téléphone m 电话, computer ordinateur m 电脑, boat bateau m 船, "
    "star étoile f 星星, "
    "lamp lampe f 灯, bag sac m 包, garden jardin m 花园"
)
NOUNS = LIVING + THINGS

ADJECTIVES = [
    Adjective(*row.split())
    for row in listed(
        "red rouge rouge 红色的|blue bleu bleue 蓝色的|green vert verte 绿色的|white blanc blanche 白色的|"
        "black noir noire 黑色的|yellow jaune jaune 黄色的|brown brun brune 棕色的|"
        "strange étrange étrange 奇怪的|important important importante 重要的|simple simple simple 简单的|"
        "famous célèbre célèbre 有名的|cold froid froide 冷的|hot chaud chaude 热的|"
        "clean propre propre 干净的|"
        "heavy lourd lourde 重的|light léger légère 轻的|quiet calme calme 安静的|free libre libre 自由的",
        separator="|",
    )
]
VERBS = [
    Verb(*row.split())
    for row in listed(
        "sees voit 看见|wants veut 想要|has a 有|likes aime 喜欢|finds trouve 找到|"
        "loses perd 丢了|sells vend 卖|"
        "buys achète 买|takes prend 拿|draws dessine 画",
        separator="|",
    )
]
ENGLISH_WORDS = [noun.english for noun in NOUNS] + [adjective.english for adjective in ADJECTIVES]


def noun_phrase(noun: Noun) -> dict[str, str]:
    return {"English": f"the {noun.english}", "French": noun.french_definite, "Chinese": noun.chinese}


def adjective_phrase(adjective: Adjective, noun: Noun) -> dict[str, str]:
    agreed = adjective.feminine if noun.feminine else adjective.masculine
    return {
        "English": f"the {adjective.english} {noun.english}",
        "French": f"{noun.french_definite} {agreed}",
        "Chinese": adjective.chinese + noun.chinese,
    }


def sentence(subject: Noun, verb: Verb, thing: Noun) -> dict[str, str]:
    return {
        "English": f"the {subject.english} {verb.english} the {thing.english}",
        "French": f"{subject.french_definite} {verb.french} {thing.french_definite}",
        "Chinese": subject.chinese + verb.chinese + thing.chinese,
    }
