"""The tasks of reasoning-gym that a recipe or a row may name.

Scorers of some tasks evaluate what they are given as Python: a model's answer, or the row. So tasks are allowed one by
one. `tests/corpora/test_gym_tasks.py` sends programs to every scorer of the pinned release and holds these lists to
what it sees; a task of a later release is refused until it was tried there.
"""

import difflib

ALLOWED = frozenset(
    """
    ab acre advanced_geometry aiw arc_1d arc_agi base_conversion basic_arithmetic bf binary_alternation boxnet
    caesar_cipher calendar_arithmetic chain_sum circuit_logic coin_flip color_cube_rotation complex_arithmetic
    count_bits count_primes course_schedule cryptarithm decimal_arithmetic decimal_chain_sum dice emoji_mystery
    family_relationships figlet_font fraction_simplification futoshiki game_of_life game_of_life_halting gcd
    graph_color group_anagrams gsm_symbolic isomorphic_strings jugs kakurasu knight_swap knights_knaves
    largest_island lcm leg_counting letter_counting letter_jumble list_functions mahjong_puzzle
    manipulate_matrix maze mini_sudoku modulo_grid needle_haystack number_filtering number_format
    number_sequence palindrome_generation palindrome_partitioning path_star polynomial_equations pool_matrix
    power_function prime_factorization products propositional_logic quantum_lock ransom_note rearc
    rectangle_count rotate_matrix rotten_oranges rubiks_cube rush_hour self_reference sentence_reordering
    shortest_path simple_equations simple_geometry sokoban spell_backward string_manipulation string_splitting
    string_synthesis sudoku survo syllogism time_intervals tower_of_hanoi tsumego word_ladder
    word_sequence_reversal word_sorting zebra_puzzles
    """.split()  # noqa: SIM905 - ninety names in as few lines as they need
)

_RUNS_THE_ANSWER = "its scorer runs the answer as Python"
_RUNS_THE_ROW = "its scorer runs a text of the row as Python"
REFUSED = {
    "binary_matrix": _RUNS_THE_ANSWER,
    "bitwise_arithmetic": _RUNS_THE_ROW,
    "codeio": "it runs programs that a language model wrote to make its problems",
    "composite": "it scores by the scorers of other tasks, those that run the answer too",
    "countdown": _RUNS_THE_ANSWER,
    "intermediate_integration": _RUNS_THE_ANSWER,
    "n_queens": _RUNS_THE_ANSWER,
    "number_sorting": _RUNS_THE_ROW,
    "polynomial_multiplication": _RUNS_THE_ANSWER,
    "puzzle24": _RUNS_THE_ANSWER,
    "simple_integration": _RUNS_THE_ANSWER,
    "spiral_matrix": _RUNS_THE_ANSWER,
    "string_insertion": _RUNS_THE_ANSWER,
}
"""Tasks that were tried, and why nothing may name them."""


def refusal(task: object) -> str | None:
    """Why a task may not be named, and what to do; None if it may. It quotes no name that it does not know."""
    if not isinstance(task, str):
        return "the name of a reasoning-gym task is a text"
    if task in ALLOWED:
        return None
    if task in REFUSED:
        return (
            f"reasoning-gym's task '{task}' is refused: {REFUSED[task]}. Use a task whose scorer only compares, "
            "as chain_sum, basic_arithmetic or gsm_symbolic"
        )
    close = difflib.get_close_matches(task[:_LONGEST], sorted(ALLOWED), n=3)
    return f"not a task of reasoning-gym that was tried and allowed; close to it are {close}"


_LONGEST = max(map(len, ALLOWED))
