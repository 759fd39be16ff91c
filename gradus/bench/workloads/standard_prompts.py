"""Three prompts in Chinese of the project's own: a long explanation, a program, a derivation.

What a person might ask for, so that the length of a text in tokens is the tokenizer's own doing.
"""

from dataclasses import dataclass

from gradus.bench.workloads.base import Encode
from gradus.bench.workloads.text import TextWorkload, TokenizedWorkload

PROMPTS = (
    "请为没有专业背景的读者详细讲解大语言模型是怎样一个词一个词地生成回答的。先说明文字如何被切分并变成数字，"
    "再说明注意力机制怎样让每个词参考前面的内容，然后解释为什么模型要保存已经算过的中间结果，"
    "最后谈谈同时服务很多用户时会遇到什么困难，以及常见的解决办法。请多举生活中的例子，分段写，不要省略推理过程。",
    "请用 Python 写一个线程安全的最近最少使用缓存。要求：容量在创建时给定；读取和写入的平均时间复杂度都是"
    "常数；支持为每个键设置过期时间；提供命中率统计；不使用第三方库。请先说明选用的数据结构和理由，再给出完整代码，"
    "最后写出至少五个单元测试，覆盖容量为一、键过期、并发写入等边界情况。",
    "设随机变量 X 服从参数为 λ 的泊松分布。请从定义出发，逐步推导它的概率母函数、数学期望和方差；"
    "再证明两个相互独立的泊松随机变量之和仍服从泊松分布，并求出新分布的参数；"
    "最后说明当 n 很大而 np 保持不变时，二项分布为什么趋近于泊松分布。每一步都要写明所用的性质。",
)


@dataclass(frozen=True, kw_only=True)
class StandardPrompts(TextWorkload):
    """The three prompts, with `output_len` tokens asked for after each."""

    output_len: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least(1, "output_len")

    @property
    def lengths(self) -> str:
        return f"{len(PROMPTS)} prompts in Chinese, {self.output_len} tokens out"

    def with_tokenizer(self, encode: Encode) -> TokenizedWorkload:
        return TokenizedWorkload(
            name=self.name,
            concurrency=self.concurrency,
            prompts=tuple(tuple(encode(prompt)) for prompt in PROMPTS),
            output_lens=(self.output_len,) * len(PROMPTS),
        )
