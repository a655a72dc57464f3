"""Curation: raw footage becomes clips of one scene, filtered and captioned, with a manifest to train on.

* `ea_data.curation.plan`: plans, which say which stages come in which order, with which options;
* `ea_data.curation.stage`: what a stage is; the stages are in `ea_data.curation.stages`;
* `ea_data.curation.curate`: a whole run; what was measured is kept and found again;
* `ea_data.curation.engines`: what drives the stages.
"""
