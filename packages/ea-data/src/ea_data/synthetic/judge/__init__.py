"""A blind judge of procedural clips: classical vision, no learned part, never shown the prompt."""

from ea_data.synthetic.judge.verdict import JudgedObject, Verdict, judge

__all__ = ["JudgedObject", "Verdict", "judge"]
