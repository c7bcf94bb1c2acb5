"""The form of a training run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from core.errors import HarkError
from phrase_augmentation.keyphrase import OtherScript
from pipeline.corpora.alignment_methods import CTC_SEGMENTATION, VITERBI
from pipeline.training.configuration.devices import DEVICES, TRAINED
from pipeline.training.configuration.efforts import EFFORT_WORDS
from pipeline.training.configuration.run_config import AUTO_SIZE, CHOICES, USUAL, RunConfig
from webui.trainer.services import configuration
from webui.translation import explained

SIZE_WORDS = {
    AUTO_SIZE: _("the most accurate one here"),
    "large": _("large: far fewer misses with real people; 34 MB, a twentieth of a CPU core; English only"),
    "standard": _("standard: 3 MB, for small computers and phones"),
}
METHOD_WORDS = {
    VITERBI: _("Hark's own alignment: faster, and more confident where it is right"),
    CTC_SEGMENTATION: _("the package ctc-segmentation: equally accurate; for comparison with other tools"),
}


class RunForm(forms.Form):
    """Phrase, language and effort, and the options of the plan page, all with sensible defaults."""

    other_language = False  # whether the phrase is rejected as being in another language

    phrase = forms.CharField(
        label=_("Phrase"),
        max_length=CHOICES["phrase"].max_length,
        strip=True,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )
    language = forms.CharField(
        label=_("Language"), max_length=CHOICES["language"].max_length, initial=USUAL.language, required=False
    )
    effort = forms.ChoiceField(
        label=_("Effort"),
        choices=[(name, _(EFFORT_WORDS[name])) for name in CHOICES["effort"].values],
        initial=USUAL.effort,
    )
    size = forms.ChoiceField(
        label=_("Size"), choices=[(name, SIZE_WORDS[name]) for name in CHOICES["size"].values], required=False
    )
    targets = forms.MultipleChoiceField(
        label=_("Where will you use it?"), choices=[(name, DEVICES[name].title) for name in DEVICES], required=False
    )
    engines = forms.MultipleChoiceField(label=_("Engines for the voices"), required=False)
    mining = forms.BooleanField(label=_("Use recordings from the library"), required=False, initial=USUAL.mining)
    mining_method = forms.ChoiceField(
        label=_("Word alignment"),
        choices=[(name, METHOD_WORDS[name]) for name in CHOICES["mining_method"].values],
        required=False,
    )
    from_scratch = forms.BooleanField(label=_("Train from scratch"), required=False)
    allow_confusables = forms.BooleanField(
        label=_("Accept confusable phrases: do not raise a large detector's threshold to reject them"), required=False
    )
    seed = forms.IntegerField(
        label=_("Seed"),
        min_value=CHOICES["seed"].minimum,
        max_value=CHOICES["seed"].maximum,
        initial=USUAL.seed,
        required=False,
    )

    def __init__(self, *args: Any, engines: Sequence[str] = (), usual: Collection[str] = (), **kwargs: Any) -> None:
        """Offer ``engines``. Choosing exactly the ``usual`` ones means the default: a run may install others."""
        super().__init__(*args, **kwargs)
        self.usual = set(usual)
        field = self.fields["engines"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(name, name) for name in engines]

    def clean(self) -> dict[str, Any]:
        """Create the run's configuration, or explain what is wrong with the phrase."""
        values = super().clean() or {}
        if "phrase" in values and "effort" in values:
            try:
                targets, engines = (values.get(name) or [] for name in ("targets", "engines"))
                chosen = {k: value for k, value in values.items() if k != "targets" and value not in (None, "", [])}
                chosen["engines"] = [] if set(engines) == self.usual else engines
                chosen["devices"] = [target for target in targets if target in TRAINED]
                self.config: RunConfig = configuration(**chosen)
            except HarkError as error:
                self.other_language = isinstance(error, OtherScript)
                self.add_error("phrase", " ".join(explained(error).values()))
        return values
