"""The problems of MBPP that MBPP+ does not hold, to train on what is tested on MBPP+."""

from oneshot.tasks.program_rows import asserted_tests
from oneshot.tasks.task import Problem
from oneshot.verifiers.code import pack_tests


def _numbers(text: str) -> frozenset[int]:
    return frozenset(map(int, text.split()))


IN_MBPPPLUS = _numbers("""
    2 3 4 6 7 8 9 11 12 14 16 17 18 19 20 56 57 58 59 61 62 63 64 65 66 67 68 69 70 71 72 74 75 77 79 80 82 84 85 86
    87 88 89 90 91 92 93 94 95 96 97 98 99 100 101 102 103 104 105 106 108 109 111 113 116 118 119 120 123 124 125 126
    127 128 129 130 131 132 133 135 137 138 139 140 141 142 145 160 161 162 165 166 167 168 170 171 172 222 223 224
    226 227 230 232 233 234 235 237 238 239 240 242 244 245 247 250 251 252 253 255 256 257 259 260 261 262 264 265
    266 267 268 269 270 271 272 273 274 276 277 278 279 280 281 282 283 284 285 286 287 290 292 293 294 296 297 299
    300 301 305 306 308 309 310 311 312 388 389 390 391 392 394 395 397 398 404 405 406 409 410 412 413 414 415 418
    419 420 421 422 424 425 426 427 428 429 430 432 433 435 436 437 439 440 441 445 446 447 448 450 451 453 454 455
    456 457 458 459 460 462 463 465 468 470 471 472 473 474 475 476 477 478 479 554 555 556 557 558 559 560 562 563
    564 565 566 567 568 569 572 573 576 577 578 579 580 581 583 585 586 587 588 589 590 591 592 593 594 596 597 598
    599 600 602 603 604 605 606 607 608 610 611 612 614 615 616 618 619 620 622 623 624 626 628 629 630 631 632 633
    635 637 638 639 641 643 644 720 721 722 723 724 725 726 728 730 731 732 733 734 735 736 737 739 740 741 742 743
    744 745 748 749 750 751 752 753 754 755 757 758 759 760 762 763 764 765 766 767 769 770 771 772 773 775 777 778
    780 781 782 784 785 786 787 788 790 791 792 793 794 796 797 798 799 800 801 803 804 805 806 807 808 809
""")
"""Numbers of MBPP's problems that are in MBPP+ 0.2.0, 108 of them in MBPP's own train split."""
LIKE_THEM = _numbers("""
    42 199 204 208 217 231 349 362 411 495 502 527 549 625 634 649 657 658 673 695 705 707 779 831 836 837 841 858 888
    893 899 922 928 931 940 942 947 964 967 973
""")
"""Numbers of others that share their text, their reference program, a test or the function's name with one of those."""


def read_mbpp(row: dict) -> Problem:
    """MBPP: tests that are asserts, of which the first is shown, as MBPP+ shows it.

    Raises ValueError for a problem of MBPP+ or one like it, so that no policy is trained on what it is tested on.
    """
    number = int(row["task_id"])
    if number in IN_MBPPPLUS | LIKE_THEM:
        raise ValueError(f"task {number} is in MBPP+, or one like it is")
    tests = asserted_tests("\n".join(row["test_list"]))
    return Problem("", f"{row.get('text') or row['prompt']}\n{row['test_list'][0]}", pack_tests(tests))
