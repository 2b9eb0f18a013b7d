;; Throws and catches, as setjmp, longjmp and exceptions of C++ do.
(component
  (core module $m 
    (tag $t)
    (func (export "f") (result i32)
      (block $h (try_table (catch $t $h) (throw $t)))
      i32.const 7))
  (core instance $i (instantiate $m))
  (func $f (result u32) (canon lift (core func $i "f")))
  (component $s (import "f" (func $g (result u32))) (export "get" (func $g)))
  (instance $api (instantiate $s (with "f" (func $f))))
  (export "demo:case/api@0.1.0" (instance $api)))
