"""words: every heading and sentence of a page, in each language.

In: a key. Out: a template whose {names} are formulas or numbers. Guarantees: the languages have
the same keys and the same names in each template, so that a page differs in words alone.
"""

from __future__ import annotations

__all__ = ["LANGUAGES", "WORDS"]

_EN = {
    "title": "Backpropagation for {loss}",
    # headings
    "symbols": "Symbols",
    "forward": "Forward pass",
    "output": "The error at the output",
    "recursion": "The recursion of the error",
    "gradients": "The gradients",
    "update": "The update",
    "emitted": "Textbook form and emitted form",
    "numbers": "With numbers",
    "one": "One sample",
    "batch": "The whole batch",
    "tables": "Positions and values that the lines above read",
    # the table of symbols
    "symbol": "symbol",
    "code": "name in the code",
    "shape": "shape",
    "meaning": "meaning",
    "input": "input",
    "labels": "labels",
    "parameter": "parameter",
    "state": "state",
    "scalar": "scalar",
    "constant": "constant",
    "key": "random key",
    "pre": "pre-activation",
    "post": "activation",
    "softmax": "softmax of the scores",
    "loss": "the loss",
    "value": "intermediate value",
    "positions": "table of positions",
    "carried": "carried from step to step",
    "carried_back": "what the later steps report back",
    "sliced": "the part of {whole} at step {t}",
    "part": "a sequence that the steps read, part by part",
    "kept": "computed in the step, read again by the gradient",
    "kept_back": "error inside the step",
    "inner_result": "result of a recurrence inside the step, whose steps are not shown",
    "error": "error, the derivative {formula}",
    "size": "number of samples",
    # sentences
    "products": "A product written side by side is a product of matrices.",
    "by_entry": "⊙ multiplies entry by entry.",
    "by_quotient": "⊘ divides entry by entry.",
    "by_power": "∘ marks a power of each entry.",
    "ones": "{ones} is a column of ones.",
    "condition": "[c] is 1 where c holds, else 0, and makes a product 0 there.",
    "flat_words": "flat(a) lists the entries of a in one column, the last index running fastest; "
    "for the whole batch, in one row for each sample.",
    "element_words": "A small letter with indices is an entry: a[i, j] of the matrix A.",
    "onehot_words": "onehot(y) is a column with 1 at the place of the label y and 0 elsewhere; for "
    "the whole batch, it has one row for each sample.",
    "sample_words": "The index n counts the samples: Σ over n adds up all of them.",
    "rate": "rate of the update",
    "softmax_words": "softmax(a) has the entries exp(a[j])/Σ exp(a[k]), the sum over all k; of a "
    "matrix it is taken in each row; a condition after a colon leaves the other places out. "
    "logsumexp(a) is log Σ exp(a[k]).",
    "forward_one": "A vector is a column; below each line stand the shapes.",
    "forward_batch": "The samples are the rows of a matrix, so a weight stands on the right.",
    "together": "Samples cannot be told apart here, so the whole batch is shown.",
    "case_if": "if",
    "case_else": "else",
    "jacobian": "Moving one score moves every probability. The full Jacobian of the softmax:",
    "textbook_loss": "The loss of a sample is minus the logarithm of the probability of its label:",
    "collapse": "Its derivative meets the Jacobian, and nearly everything cancels:",
    "output_delta": "Hence the error at the output, with the mean over the samples:",
    "output_chain": "The chain rule at the output:",
    "output_linear": "No activation follows the last pre-activation, so the error is the "
    "derivative of the loss itself:",
    "output_heads": "The loss adds up several cross entropies; each starts with an error of its "
    "own.",
    "scores": "For the scores {scores}:",
    "credit": "Credit assignment: a value reaches the loss only through what is computed from it. "
    "Its derivative collects what those values report back, each through its own Jacobian.",
    "gradient_words": "A weight is met by every sample: its gradient is a sum of outer products "
    "over the samples, which for the batch is one product of matrices.",
    "gradient_words_single": "The gradient of a weight is the outer product of the error above it "
    "and the value below it.",
    "update_words": "One step, for {parameter}; every other parameter is changed alike.",
    "update_state": "Lines are carried out in order; what starts at zero is remembered from step "
    "to step.",
    "same_form": "{name}: the textbook form is emitted as it is.",
    "textbook_is": "textbook",
    "emitted_is": "emitted",
    "function_is": "function",
    "tail_lost": "{name}: at z = {point} the textbook form gives {textbook} in {width}, where "
    "{exact} is right: it subtracts numbers that are equal once rounded. The emitted form gives "
    "{emitted}.",
    "tail_overflow": "{name}: at z = {point} the textbook form gives {textbook} in {width}, where "
    "{exact} is right: an exponential overflows on the way. The emitted form gives {emitted}.",
    "with_h": "In the table, h is the value of the function at z.",
    "function_of": "{formula}",
    "pair": "{one}, {all}",
    "norm_of": "shape {shape}, norm {norm}",
    "tail_kept": "{name}: the two forms agree to rounding at every point tried.",
    "shift": "softmax: at z = ({point}, 0) the textbook form exp(z)/Σ exp(z) gives {textbook} in "
    "float64, since exp({point}) overflows; shifted by the largest score, as emitted, it gives "
    "{emitted}.",
    "data": "Values for the given data; parameters that were not given start as with seed 0.",
    "numbers_forward": "Forward, step by step",
    "numbers_backward": "Backward, step by step",
    "first_sample": "The first sample of {count}:",
    "norms": "Norm of the error of each layer",
    "norm": "norm",
    "differences": "Gradients against central differences, h = {step}",
    "entry": "entry",
    "gradient": "gradient",
    "difference": "central difference",
    "relative": "relative difference",
    "at_kink": "at a kink",
    "kink_words": "At a kink the differences to the two sides are not equal: the loss has no "
    "derivative there, a central difference is their mean, and a gradient takes one side.",
    "before": "Loss before the update: {before}. After one update with {optimizer}: {after}.",
    "recurrence_words": "A recurrence over the steps {t} = 1, …, {length}:",
    "recurrence_back": "A recurrence that runs backwards over the steps {t} = {length}, …, 1:",
    "recurrence_last": "{name} is {value} of the last step that is run.",
    "recurrence_all": "{name} holds {value} of every step.",
    "batch_index": "A batch gives every value above one more index, n.",
}

_FR = {
    "title": "Rétropropagation pour {loss}",
    "symbols": "Symboles",
    "forward": "Propagation avant",
    "output": "L'erreur en sortie",
    "recursion": "La récurrence de l'erreur",
    "gradients": "Les gradients",
    "update": "La mise à jour",
    "emitted": "Forme du cours et forme émise",
    "numbers": "Avec des nombres",
    "one": "Un exemple",
    "batch": "Le lot entier",
    "tables": "Positions et valeurs que lisent les lignes ci-dessus",
    "symbol": "symbole",
    "code": "nom dans le code",
    "shape": "forme",
    "meaning": "sens",
    "input": "entrée",
    "labels": "étiquettes",
    "parameter": "paramètre",
    "state": "état",
    "scalar": "scalaire",
    "constant": "constante",
    "key": "clé aléatoire",
    "pre": "préactivation",
    "post": "activation",
    "softmax": "softmax des scores",
    "loss": "la perte",
    "value": "valeur intermédiaire",
    "positions": "table de positions",
    "carried": "passe d'un pas au suivant",
    "carried_back": "ce que renvoient les pas suivants",
    "sliced": "la part de {whole} au pas {t}",
    "part": "une suite que lisent les pas, part après part",
    "kept": "calculé dans le pas, relu par le gradient",
    "kept_back": "erreur à l'intérieur du pas",
    "inner_result": "résultat d'une récurrence intérieure au pas, dont les pas ne sont pas montrés",
    "error": "erreur, la dérivée {formula}",
    "size": "nombre d'exemples",
    "products": "Deux facteurs côte à côte forment un produit de matrices.",
    "by_entry": "⊙ multiplie élément par élément.",
    "by_quotient": "⊘ divise élément par élément.",
    "by_power": "∘ marque une puissance de chaque élément.",
    "ones": "{ones} est une colonne de uns.",
    "condition": "[c] vaut 1 là où c est vrai, sinon 0, et annule alors le produit.",
    "flat_words": "flat(a) range les éléments de a dans une colonne, le dernier indice variant le "
    "plus vite ; pour le lot entier, dans une ligne par exemple.",
    "element_words": "Une minuscule avec des indices est un élément : a[i, j] de la matrice A.",
    "onehot_words": "onehot(y) est une colonne qui vaut 1 à la place de l'étiquette y et 0 "
    "ailleurs ; pour le lot entier, il a une ligne par exemple.",
    "sample_words": "L'indice n compte les exemples : Σ sur n les additionne tous.",
    "rate": "taux de la mise à jour",
    "softmax_words": "softmax(a) a pour éléments exp(a[j])/Σ exp(a[k]), somme sur tous les k ; "
    "pour une matrice, il se prend ligne par ligne ; une condition après deux points écarte les "
    "autres places. logsumexp(a) est log Σ exp(a[k]).",
    "forward_one": "Un vecteur est une colonne ; sous chaque ligne se trouvent les formes.",
    "forward_batch": "Les exemples sont les lignes d'une matrice : un poids se place à droite.",
    "together": "Les exemples ne se distinguent pas les uns des autres ici : le lot entier est "
    "montré.",
    "case_if": "si",
    "case_else": "sinon",
    "jacobian": "Déplacer un score déplace toutes les probabilités. La jacobienne complète du "
    "softmax :",
    "textbook_loss": "La perte d'un exemple est l'opposé du logarithme de la probabilité de son "
    "étiquette :",
    "collapse": "Sa dérivée rencontre la jacobienne, et presque tout se simplifie :",
    "output_delta": "D'où l'erreur en sortie, avec la moyenne sur les exemples :",
    "output_chain": "La règle de la chaîne en sortie :",
    "output_linear": "Aucune activation ne suit la dernière préactivation : l'erreur est la "
    "dérivée de la perte elle-même :",
    "output_heads": "La perte additionne plusieurs entropies croisées ; chacune part de sa propre "
    "erreur.",
    "scores": "Pour les scores {scores} :",
    "credit": "Attribution du crédit : une valeur n'atteint la perte que par ce qui est calculé à "
    "partir d'elle. Sa dérivée rassemble ce que ces valeurs renvoient, chacune par sa jacobienne.",
    "gradient_words": "Chaque exemple rencontre le poids : son gradient est une somme de produits "
    "extérieurs sur les exemples, soit, pour le lot, un seul produit de matrices.",
    "gradient_words_single": "Le gradient d'un poids est le produit extérieur de l'erreur "
    "au-dessus de lui et de la valeur au-dessous.",
    "update_words": "Un pas, pour {parameter} ; tout autre paramètre change de même.",
    "update_state": "Les lignes s'exécutent dans l'ordre ; ce qui part de zéro est retenu d'un "
    "pas au suivant.",
    "same_form": "{name} : la forme du cours est émise telle quelle.",
    "textbook_is": "cours",
    "emitted_is": "émise",
    "function_is": "fonction",
    "tail_lost": "{name} : en z = {point}, la forme du cours donne {textbook} en {width}, alors "
    "que {exact} est juste : elle soustrait des nombres égaux une fois arrondis. La forme émise "
    "donne {emitted}.",
    "tail_overflow": "{name} : en z = {point}, la forme du cours donne {textbook} en {width}, "
    "alors que {exact} est juste : une exponentielle déborde en chemin. La forme émise donne "
    "{emitted}.",
    "with_h": "Dans la table, h est la valeur de la fonction en z.",
    "function_of": "{formula}",
    "pair": "{one}, {all}",
    "norm_of": "forme {shape}, norme {norm}",
    "tail_kept": "{name} : les deux formes s'accordent à l'arrondi près en tout point essayé.",
    "shift": "softmax : en z = ({point}, 0), la forme du cours exp(z)/Σ exp(z) donne {textbook} "
    "en float64, car exp({point}) déborde ; décalée du plus grand score, comme émise, elle donne "
    "{emitted}.",
    "data": "Valeurs pour les données fournies ; les paramètres non fournis partent de la graine "
    "0.",
    "numbers_forward": "En avant, pas à pas",
    "numbers_backward": "En arrière, pas à pas",
    "first_sample": "Le premier exemple sur {count} :",
    "norms": "Norme de l'erreur de chaque couche",
    "norm": "norme",
    "differences": "Gradients et différences centrées, h = {step}",
    "entry": "élément",
    "gradient": "gradient",
    "difference": "différence centrée",
    "relative": "écart relatif",
    "at_kink": "en un point anguleux",
    "kink_words": "En un point anguleux, les différences des deux côtés ne sont pas égales : la "
    "perte n'y a pas de dérivée, une différence centrée est leur moyenne, et un gradient prend un "
    "côté.",
    "before": "Perte avant la mise à jour : {before}. Après une mise à jour par {optimizer} : "
    "{after}.",
    "recurrence_words": "Une récurrence sur les pas {t} = 1, …, {length} :",
    "recurrence_back": "Une récurrence parcourue à rebours, pour les pas {t} = {length}, …, 1 :",
    "recurrence_last": "{name} est {value} au dernier pas exécuté.",
    "recurrence_all": "{name} contient {value} de tous les pas.",
    "batch_index": "Un lot donne à chaque valeur ci-dessus un indice de plus, n.",
}

WORDS = {"en": _EN, "fr": _FR}
LANGUAGES = tuple(WORDS)
