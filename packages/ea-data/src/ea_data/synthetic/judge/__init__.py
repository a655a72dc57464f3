"""A blind judge of procedural clips: classical vision, no learned part, never shown the prompt."""

from ea_data.synthetic.judge.camera import JudgedCamera, judge_camera
from ea_data.synthetic.judge.pair import JudgedPair, judge_pair
from ea_data.synthetic.judge.verdict import JudgedObject, Verdict, judge

__all__ = ["JudgedCamera", "JudgedObject", "JudgedPair", "Verdict", "judge", "judge_camera", "judge_pair"]
