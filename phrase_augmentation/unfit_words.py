"""Frequent words that generated sentences avoid, because they may offend or frighten listeners.

Confusables may contain them, because a detector must not respond to words that sound like the phrase.
"""

from __future__ import annotations

WORDS = {
    "de": """
        angriff angriffe arsch arschloch blut blöd brust christus drogen dumm ermordet erschossen fett ficken
        gestorben getötet gewalt gott hass hitler hölle idioten islam jesus juden jüdische jüdischen krebs krieg
        kriege mord muslime mörder nackt nazi nazis opfer porno rassismus scheiss schlampe schwanz sex starb
        sterben stirbt terror terroristen teufel titten tod tot tote toten töten verdammt waffe waffen
    """,
    "fr": """
        arme armes attaque attaques attentat attentats bite bombe cancer chier christ con connard cul diable
        dieu drogue enfer esclaves foutre gay guerre guerres haine islam islamique juif juifs jésus merde meurt
        meurtre mort morte morts mourir musulman musulmans nu porno putain pute racisme raciste salope sang sexe
        sexuel sexuelle sexuelles stupide suicide terrorisme terroriste terroristes toilettes tue tuer tué tués
        victime victimes viol violence violences
    """,
    "es": """
        arma armas asesinado asesinato asesinatos asesino ataque ataques bomba bombas coño cristo culo cáncer
        diablo dios droga drogas esclavos gay gordo guerra guerras hitler idiota infierno jesús joder judíos
        maldito matar mató mierda morir muere muerta muerte muertes muerto muertos murió odio pendejo porno puta
        putas puto sangre sexo sexual sexuales suicidio terror terrorismo terrorista terroristas verga violación
        violencia víctima víctimas
    """,
    "it": """
        arma armi attacchi attacco bomba bombe brutta brutto cancro cazzo cristo culo diavolo dio droga ebrei
        figa gay gesù grasso guerra guerre idiota inferno merda morire morta morte morti morto morì muore
        musulmani nudo odio omicidi omicidio porno puttana razzismo sangue schiavi sesso sessuale sessuali
        stronzo stupido suicidio terrore terrorismo troia uccide uccidere uccisi ucciso violenza vittima vittime
    """,
    "pt": """
        arma armas assassinato assassino ataque ataques bomba bombas caralho cristo cu câncer deus diabo droga
        drogas escravos estupro foda foder gay gordo guerra guerras hitler idiota inferno jesus judeus mata
        matar matou merda morre morrer morreu morta morte mortes morto mortos porra preso puta sangue sexo
        sexuais sexual suicídio terror terroristas tiro tiros violência vítima vítimas ódio
    """,
    "nl": """
        aanval aanvallen bloed bom bommen christus dik dikke dode doden dom dood drugs fuck gedood geschoten
        geweld god haat hel hitler hoer homo idioot islam jezus joden joodse kanker klote kut lelijk lijk lijken
        lul moord moorden moordenaar moslim moslims naakt nazi neuken oorlog oorlogen overleden porno racisme
        schieten seks seksueel seksuele shit slachtoffer slachtoffers slaven sterft sterven stierf stom
        terroristen verdomme verkrachting vermoord vermoorden wapen wapens zelfmoord
    """,
}
UNFIT = {language: frozenset(words.split()) for language, words in WORDS.items()}
