//! The functions of `mirror`, each by a call of the imported one of the same name.

wit_bindgen::generate!({ world: "relays", path: "../mirror/wit" });

use demo::values::mirror as there;
use exports::demo::values::mirror as here;

struct Relay;

macro_rules! same {
    ($($name:ident($ty:ty))*) => { $( fn $name(v: $ty) -> $ty { there::$name(v) } )* };
}

macro_rules! borrowed {
    ($($name:ident($ty:ty))*) => { $( fn $name(v: $ty) -> $ty { there::$name(&v) } )* };
}

fn point(p: here::Point) -> there::Point {
    there::Point { x: p.x, y: p.y }
}

fn point_back(p: there::Point) -> here::Point {
    here::Point { x: p.x, y: p.y }
}

fn form(f: here::Form) -> there::Form {
    let here::Form { title, id, points, picture, note, tint, wide } = f;
    let points = points.into_iter().map(point).collect();
    there::Form { title, id, points, picture, note, tint, wide }
}

fn form_back(f: there::Form) -> here::Form {
    let there::Form { title, id, points, picture, note, tint, wide } = f;
    let points = points.into_iter().map(point_back).collect();
    here::Form { title, id, points, picture, note, tint, wide }
}

fn shape(s: here::Shape) -> there::Shape {
    match s {
        here::Shape::Empty => there::Shape::Empty,
        here::Shape::Circle(v) => there::Shape::Circle(v),
        here::Shape::Polygon(v) => there::Shape::Polygon(v.into_iter().map(point).collect()),
        here::Shape::Label(v) => there::Shape::Label(v),
        here::Shape::Big(v) => there::Shape::Big(v),
        here::Shape::Nested(v) => there::Shape::Nested(v),
    }
}

fn shape_back(s: there::Shape) -> here::Shape {
    match s {
        there::Shape::Empty => here::Shape::Empty,
        there::Shape::Circle(v) => here::Shape::Circle(v),
        there::Shape::Polygon(v) => here::Shape::Polygon(v.into_iter().map(point_back).collect()),
        there::Shape::Label(v) => here::Shape::Label(v),
        there::Shape::Big(v) => here::Shape::Big(v),
        there::Shape::Nested(v) => here::Shape::Nested(v),
    }
}

fn color(c: here::Color) -> there::Color {
    match c {
        here::Color::Red => there::Color::Red,
        here::Color::Green => there::Color::Green,
        here::Color::Blue => there::Color::Blue,
    }
}

fn color_back(c: there::Color) -> here::Color {
    match c {
        there::Color::Red => here::Color::Red,
        there::Color::Green => here::Color::Green,
        there::Color::Blue => here::Color::Blue,
    }
}

impl here::Guest for Relay {
    same! {
        a_bool(bool) a_u8(u8) a_u16(u16) a_u32(u32) a_u64(u64) value(u64) a_s8(i8) a_s16(i16) a_s32(i32)
        a_s64(i64) a_f32(f32) a_f64(f64) a_char(char) an_option(Option<u32>)
        deep_option(Option<Option<u32>>) bare_result(Result<(), ()>)
    }
    borrowed! { a_string(String) a_bytes(Vec<u8>) a_list(Vec<u16>) a_nest(Vec<Vec<String>>) }

    fn a_record(v: here::Point) -> here::Point {
        point_back(there::a_record(point(v)))
    }

    fn a_form(v: here::Form) -> here::Form {
        form_back(there::a_form(&form(v)))
    }

    fn a_tuple((a, b, c): (u8, String, bool)) -> (u8, String, bool) {
        there::a_tuple((a, &b, c))
    }

    fn a_variant(v: here::Shape) -> here::Shape {
        shape_back(there::a_variant(&shape(v)))
    }

    fn variants(v: Vec<here::Shape>) -> Vec<here::Shape> {
        let given: Vec<_> = v.into_iter().map(shape).collect();
        there::variants(&given).into_iter().map(shape_back).collect()
    }

    fn an_enum(v: here::Color) -> here::Color {
        color_back(there::an_enum(color(v)))
    }

    fn a_result(v: Result<String, here::Color>) -> Result<String, here::Color> {
        let v = v.map_err(color);
        there::a_result(v.as_deref()).map_err(color_back)
    }

    fn some_flags(v: here::Rights) -> here::Rights {
        let v = there::some_flags(there::Rights::from_bits_retain(v.bits()));
        here::Rights::from_bits_retain(v.bits())
    }

    fn many_flags(v: here::Many) -> here::Many {
        let v = there::many_flags(there::Many::from_bits_retain(v.bits()));
        here::Many::from_bits_retain(v.bits())
    }

    fn spilled(
        a: String,
        b: here::Form,
        c: u8,
        d: String,
        e: u16,
    ) -> (u16, String, u8, here::Form, String) {
        let (e, d, c, b, a) = there::spilled(&a, &form(b), c, &d, e);
        (e, d, c, form_back(b), a)
    }

    fn nothing() {
        there::nothing();
    }
}

export!(Relay);
