/* approx.h - polynomials of the vectorised exp and asin, fitted for this project (minimax, float32 coefficients).
 *
 * exp(r) ~ 1 + r + r^2 (E0 + E1 r + ...) for |r| <= ln 2 / 2; with x = n ln 2 + r in two parts the relative error of exp(x) stays below 2e-7 for
 * -87 <= x <= 0. asin(h) ~ h + h z (A0 + A1 z + ...), z = h^2, for h <= 1/2; beyond, asin(h) = pi/2 - 2 asin(sqrt((1 - h) / 2)): relative error below 2e-7.
 * tests/test_ops.c holds the score kernels to these bounds.
 */
#ifndef QIG_OPS_APPROX_H
#define QIG_OPS_APPROX_H

#define QIG_EXP_E0 0.4999999403953552f
#define QIG_EXP_E1 0.1666651964187622f
#define QIG_EXP_E2 0.04166839271783829f
#define QIG_EXP_E3 0.008368780836462975f
#define QIG_EXP_E4 0.0013814467238262296f
#define QIG_EXP_LOWEST (-87.0f) /* below, exp counts as 0: it is under 1.7e-38 */

#define QIG_LOG2_E 1.442695040888963f
#define QIG_LN2_HIGH 0.693359375f /* 9 bits: n times it is exact */
#define QIG_LN2_LOW (-2.12194440e-4f)

#define QIG_ASIN_A0 0.16666753590106964f
#define QIG_ASIN_A1 0.07495232671499252f
#define QIG_ASIN_A2 0.04547834396362305f
#define QIG_ASIN_A3 0.024140987545251846f
#define QIG_ASIN_A4 0.042230550199747086f

#define QIG_HALF_PI 1.5707963267948966f

#endif
