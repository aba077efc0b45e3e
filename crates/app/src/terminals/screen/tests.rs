use super::*;

fn screen(rows: u16, cols: u16, text: &str) -> Screen {
    let mut screen = Screen::new(rows, cols);
    screen.take(text.as_bytes());
    screen
}

fn shown(text: &str) -> String {
    String::from_utf8(Screen::new(24, 80).take(text.as_bytes()).show).expect("text")
}

fn answered(text: &str) -> String {
    String::from_utf8(Screen::new(24, 80).take(text.as_bytes()).answer).expect("text")
}

#[test]
fn what_a_program_may_do_goes_through_as_it_is() {
    for plain in [
        "plain é世\r\n\x08\t", "\x1b[1;31mred\x1b[0m", "\x1b[38;2;1;2;3m", "\x1b[2J\x1b[H", "\x1b[3;5H\x1b[K", "\x1b[?25l\x1b[?25h",
        "\x1b[?2004h", "\x1b[?1049h\x1b[?1049l", "\x1b[?1000h\x1b[?1006h", "\x1b[2;5r", "\x1b7\x1b8", "\x1bM", "\x1b[4 q",
        "\x1b[2L\x1b[1P", "\x1b=\x1b>",
    ] {
        assert_eq!(shown(plain), plain, "{plain:?}");
    }
    assert_eq!(shown("\x1b[?47h\x1b[?1;25h"), "\x1b[?1049h\x1b[?1h\x1b[?25h");
    assert_eq!(shown("\x1b(0lqk\x1b(Bq\x0exq\x0f"), "┌─┐qxq", "line drawings are characters");
    assert_eq!(shown("ab\x1b[3b"), "abbbb");
}

#[test]
fn what_alters_the_terminal_or_asks_it_is_dropped() {
    for hostile in [
        // The clipboard, titles, colours of the terminal, links, places, notifications, files.
        "\x1b]52;c;ZXZpbA==\x07", "\x1b]52;c;?\x07", "\x1b]0;title\x07", "\x1b]2;title\x1b\\", "\x1b]4;1;#000\x07", "\x1b]10;?\x07",
        "\x1b]11;#fff\x07", "\x1b]8;;http://evil.example\x07", "\x1b]7;file://x\x07", "\x1b]9;9;x\x07", "\x1b]777;notify;a;b\x07",
        "\x1b]1337;File=x:AA\x07", "\x1b]50;x\x07", // Strings that a terminal may answer, draw or run.
        "\x1bP$qm\x1b\\", "\x1bP+q544e\x1b\\", "\x1bPq#0;2;0;0;0\x1b\\", "\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\", "\x1b_Ga=T;AAAA\x1b\\",
        "\x1b^x\x1b\\", "\x1bXx\x1b\\",
        // Reports, sizes, printing, what the terminal keeps, keys that are sent in another form.
        "\x1b[c", "\x1b[>c", "\x1b[=c", "\x1b[5n", "\x1b[6n", "\x1b[?6n", "\x1b[?996n", "\x1b[18t", "\x1b[21t", "\x1b[8;10;10t", "\x1b[5i",
        "\x1b[3J", "\x1b[x", "\x1b[?$p", "\x1b[?2004$p", "\x1b[4$p", "\x1b[>q", "\x1b[?u", "\x1b[>1u", "\x1b[=1;1u", "\x1b[>4;2m",
        "\x1b[?4m", "\x1b[0$}", "\x1b[1*x", "\x1b[2$~", "\x1b[?5h", "\x1b[?6h", "\x1b[?3h", "\x1b[?9h", "\x1b[?1005h", "\x1b[?1015h",
        "\x1b[?1016h", "\x1b[?2031h", "\x1b[?9001h", "\x1b[20h", "\x1b[2h", "\x1b[?8452h", "\x05", "\x11\x13", "\x1b#8", "\x1b%G",
        "\x1b%@", "\x1bZ", "\x1b[g", "\x1bH", "\x1b F", "\x1bn", "\x1b*0", "\u{9b}6n", "\u{9d}52;c;eA==\u{9c}", "\u{202e}", "\x7f",
    ] {
        let out = shown(hostile);
        assert!(!out.contains(['\x1b', '\x05', '\x11', '\u{9b}', '\u{202e}', '\x7f']), "{hostile:?} gives {out:?}");
    }
    // A bell is a bell, and a flood of bells is two.
    assert_eq!(shown(&"\x07".repeat(100)), "\x07\x07");
    assert!(!shown("\x1bc").contains("\x1bc"), "a reset is a soft one");
}

#[test]
fn a_sequence_in_pieces_is_no_way_round() {
    let hostile = "a\x1b]52;c;ZXZpbA==\x1b\\b\x1b[6nc\x1bP$qm\x1b\\d\x1b[3Je";
    for step in 1..hostile.len() {
        let (mut screen, mut show) = (Screen::new(24, 80), Vec::new());
        for piece in hostile.as_bytes().chunks(step) {
            show.extend(screen.take(piece).show);
        }
        assert_eq!(String::from_utf8_lossy(&show), "abcde", "in pieces of {step}");
    }
}

#[test]
fn questions_are_answered_here_and_not_without_end() {
    assert_eq!(answered("\x1b[5n"), "\x1b[0n");
    assert_eq!(answered("\x1b[3;7H\x1b[6n"), "\x1b[3;7R");
    assert_eq!(answered("abc\r\nde\x1b[?6n"), "\x1b[?2;3R");
    assert_eq!(answered("\x1b[c\x1b[>c"), "\x1b[?62;22c\x1b[>1;10;0c");
    assert_eq!(answered("\x1b[?2026$p"), "\x1b[?2026;0$y");
    assert!(answered(&"\x1b[c".repeat(10_000)).len() <= ANSWER_BYTES_MAX);
}

#[test]
fn the_page_is_what_a_terminal_would_show() {
    assert_eq!(screen(3, 10, "one\r\ntwo\r\nthree\r\nfour").text(), "two\nthree\nfour");
    assert_eq!(screen(3, 5, "abcdefg").text(), "abcde\nfg", "lines are full at their end");
    assert_eq!(screen(3, 5, "abcde\rX").text(), "Xbcde", "and not before more comes");
    assert_eq!(screen(3, 10, "abc\x1b[2D\x1b[PX").text(), "aX");
    assert_eq!(screen(4, 10, "1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[3;1H\n5").text(), "1\n3\n5\n4", "margins");
    assert_eq!(screen(4, 10, "1\r\n2\r\n3\x1b[2;1H\x1b[Lx").text(), "1\nx\n2\n3");
    assert_eq!(screen(3, 10, "main\x1b[?1049hother\x1b[?1049l!").text(), "main!");
    assert_eq!(screen(2, 6, "a世b").text(), "a世b");
    assert_eq!(screen(2, 4, "abc世").text(), "abc\n世", "a wide character does not stand on two lines");
    assert_eq!(screen(3, 10, "first\x1b[1;4H\x1bMtop").text(), "   top\nfirst", "up at the top moves the page down");
}

#[test]
fn a_repainted_terminal_shows_the_same() {
    let many = (0..40).map(|n| format!("line {n}\r\n")).collect::<String>();
    for text in [
        many.as_str(),
        "\x1b[31mred\x1b[0m \x1b[1;4mbold\x1b[0m\r\n\r\nend",
        "\x1b[?1049h\x1b[2;2Hother\x1b[44m blue",
        "世界\x1b[5;5Hx\x1b[?25l",
        "\x1b[2;4r\x1b[3;1Hhere",
        "\x1b[?2004h\x1b[?1000h\x1b[?1hkeys",
    ] {
        let first = screen(6, 20, text);
        for history in [false, true] {
            let mut again = Screen::new(6, 20);
            let painted = first.repaint(history);
            assert_eq!(again.take(&painted).show.is_empty(), text.is_empty());
            assert_eq!(again.text(), first.text(), "{text:?}");
            assert_eq!((again.page().at.row, again.page().at.col), (first.page().at.row, first.page().at.col), "{text:?}");
            assert_eq!((&again.modes, again.is_hidden, again.is_other), (&first.modes, first.is_hidden, first.is_other), "{text:?}");
        }
    }
    assert!(Screen::new(6, 20).repaint(true).is_empty(), "nothing was shown yet");
    let painted = screen(6, 20, &many).repaint(true);
    assert!(String::from_utf8_lossy(&painted).contains("line 7"), "with what went by");
}

#[test]
fn no_bytes_and_no_size_break_it() {
    // A small generator: the same bytes each time.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = move |most: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        u16::try_from(seed % most).expect("small")
    };
    let parts: [&[u8]; 14] = [
        b"\x1b[",
        b"\x1b]",
        b"\x1bP",
        b"\x1b",
        b"0;",
        b"65535",
        b"?",
        b"H",
        b"r",
        b"\n",
        "世".as_bytes(),
        b"\x1b[?1049h",
        b"\x1b[?1049l",
        b"abcdefgh",
    ];
    for _ in 0..300 {
        let mut screen = Screen::new(below(40), below(90));
        for _ in 0..60 {
            if below(5) == 0 {
                screen.resize(below(30), below(60));
            }
            let mut bytes = parts[usize::from(below(14))].to_vec();
            if below(3) == 0 {
                bytes.extend((0..8).map(|_| below(256).to_le_bytes()[0]));
            } else {
                bytes.push(b'@' + below(60).to_le_bytes()[0]);
            }
            let taken = screen.take(&bytes);
            assert!(std::str::from_utf8(&taken.show).is_ok());
        }
        let _ = (screen.repaint(true), screen.text());
    }
}

#[test]
fn what_is_left_set_is_reset() {
    // Every mode that goes through is undone by the reset.
    for mode in MODES.iter().chain(OTHER_PAGE) {
        let set = shown(&format!("\x1b[?{mode}h"));
        let name = set.trim_start_matches("\x1b[?").trim_end_matches('h');
        let reset = String::from_utf8_lossy(RESET);
        assert!(reset.contains(&format!("\x1b[?{name}l")) || reset.contains(&format!("\x1b[?{name}h")), "{mode}");
    }
}
