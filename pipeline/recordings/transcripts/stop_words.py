"""English and German words without a topic, including question words, which only define the kind of answer."""

import re

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
    a about all also am an and any are as at be because been before being but by can could did do does doing done for
    from get give given go got had has have having he her here hers him his how i if in into is it its just know let
    like made make many may me might much must my no not of on one or other our out own please said say says shall she
    should so some tell than that the their them then there these they this those to too us very was we were what when
    where which while who whom whose why will with would you your anyone anything someone something happen happened
    mean means name names named called live lives lived living recording recordings speaker mention mentioned talk
    talked s t d ll m re ve don didn doesn isn wasn
    aber alle als am an auch auf aus bei bin bis bist da damit dann das dass dein dem den der des dich die dies diese
    dieser dir du durch ein eine einem einen einer es euch für gab gibt haben hat hatte hier ich ihm ihn ihnen ihr im
    in ist ja kann kein keine können man mein mich mir mit nach nein nicht noch nun nur oder sagen sagt sagte schon
    sein seine sich sie sind so über um und uns unser unter vom von vor wann war waren warum was weil welche welcher
    welches wem wen wenn wer werden wie wieder wieviel wir wird name namens heißt hieß wohnt wo woher wohin wurde
    wurden zu zum zur
    """,
    )
)
