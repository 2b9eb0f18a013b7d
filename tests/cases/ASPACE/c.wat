(component
  (core module $m (func (export "f") (result i32) i32.const 7))
  (core instance $i (instantiate $m))
  (func $f (result u32) (canon lift (core func $i "f")))
  (component $s (import "f" (func $g (result u32))) (export "get" (func $g)))
  (instance $api (instantiate $s (with "f" (func $f))))
  (export "demo:case/api@0.1.0" (instance $api)))
