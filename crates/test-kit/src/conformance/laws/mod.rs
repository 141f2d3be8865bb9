mod conservation;
mod layer;
mod pressure;
mod redial;
mod session;
mod traffic;
mod transparent;
