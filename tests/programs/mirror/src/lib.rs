//! A component that gives back what it gets. Plain `wit-bindgen`: nothing of Izna is in it.

wit_bindgen::generate!({ world: "mirrors", path: "wit" });

use exports::demo::values::mirror::{Color, Form, Guest, Many, Point, Rights, Shape};

struct Mirror;

macro_rules! same {
    ($($name:ident($ty:ty))*) => { $( fn $name(v: $ty) -> $ty { v } )* };
}

impl Guest for Mirror {
    same! {
        a_bool(bool) a_u8(u8) a_u16(u16) a_u32(u32) a_u64(u64) value(u64) a_s8(i8) a_s16(i16) a_s32(i32)
        a_s64(i64) a_f32(f32) a_f64(f64) a_char(char) a_string(String) a_bytes(Vec<u8>)
        a_list(Vec<u16>) a_nest(Vec<Vec<String>>) a_record(Point) a_form(Form)
        a_tuple((u8, String, bool)) a_variant(Shape) variants(Vec<Shape>) an_enum(Color)
        an_option(Option<u32>) deep_option(Option<Option<u32>>) a_result(Result<String, Color>)
        bare_result(Result<(), ()>) some_flags(Rights) many_flags(Many)
    }

    fn spilled(a: String, b: Form, c: u8, d: String, e: u16) -> (u16, String, u8, Form, String) {
        (e, d, c, b, a)
    }

    fn nothing() {}
}

export!(Mirror);
